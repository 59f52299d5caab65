"""All that a report consists of, as files in one folder: the table in every format, the curve, the pruning pattern."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import atomic
from bench.cell import Cell, Record
from bench.report import curve, pattern
from bench.report.table import FORMATS, render


def write_report(folder: Path, records: Sequence[Record], cells: Sequence[Cell]) -> Iterator[Path]:
    """Writes one file after the other, and yields its path; no pattern while nothing is pruned. Raises ConfigError: nothing to draw."""
    for fmt in FORMATS:
        atomic.write(folder / f"table.{fmt}", (render(records, fmt, cells) + "\n").encode())
        yield folder / f"table.{fmt}"
    figures = {"curve": curve.draw} | ({"pattern": pattern.draw} if pattern.panels(records) else {})
    for name, draw in figures.items():
        for ending in ("png", "svg"):
            yield draw(records, folder / f"{name}.{ending}")

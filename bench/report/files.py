"""All that a report consists of, as files in one folder: the table in every format, beside the paper's, the figures, the page."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.files import atomic
from bench.records import Record
from bench.report import curve, memory, page, pattern, skips, visual
from bench.report.paper_comparison import has_counterparts, render_against
from bench.report.table import FORMATS, render
from bench.study.store import Store

PAGE = "report.html"


def write_report(store: Store) -> Iterator[Path]:
    """Writes one file after the other into the run folder, and yields its path; a figure that has nothing to show yet is left out."""
    records, cells = store.records(), store.cells()
    for fmt in FORMATS:
        atomic.write(store.folder / f"table.{fmt}", (render(records, fmt, cells) + "\n").encode())
        yield store.folder / f"table.{fmt}"
    if has_counterparts(records, cells):
        atomic.write(
            store.folder / "against_paper.md",
            (render_against(records, "md", cells) + "\n").encode(),
        )
        yield store.folder / "against_paper.md"
    for name, draw in figures(store, records).items():
        for ending in ("png", "svg"):
            yield draw(store.folder / f"{name}.{ending}")
    yield page.write_page(store, store.folder / PAGE)


def figures(store: Store, records: Sequence[Record]) -> dict[str, Callable[[Path], Any]]:
    """The figures that a run has something to show in: name -> what draws it into a file."""
    known: dict[str, tuple[Any, Callable[[Path], Any]]] = {
        "curve": (curve.panels(records), partial(curve.draw, records)),
        "memory": (memory.pairs(records), partial(memory.draw, records)),
        "pattern": (pattern.panels(records), partial(pattern.draw, records)),
        "skips": (skips.panels(records), partial(skips.draw, records)),
        "visual": (visual.shown(store, records), partial(visual.draw, store, records)),
    }
    return {name: draw for name, (there, draw) in known.items() if there}

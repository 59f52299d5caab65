"""The table of the page: what the printed table shows, the comparison with MOSP beside it, and of every entry the number to sort by."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.report.frame import COSTS
from bench.report.significance import verdict
from bench.report.statistics import LEAST_PHOTOGRAPHS
from bench.report.table import (
    MISSING,
    PLACES,
    Marks,
    Row,
    number,
    peak_columns,
    place_among,
    ruler_text,
    status_text,
)

VERSUS, VERDICT = "versus MOSP dB", "verdict"
PLAIN = Marks("{}", "{}", " ± ", str)
COST_HEADERS = dict(zip(("steps", "samples", "passes", "seconds"), COSTS, strict=True))


class Entry(NamedTuple):
    """One cell of the table: its text, what it is sorted by, and how it is marked ("bold", "second" or "")."""

    text: str
    order: Any
    mark: str = ""


def headers(rows: Sequence[Row]) -> list[str]:
    """The columns, quality first, so that a narrow screen shows it.

    Those of the comparison are there only where there is one, and a verdict only where a test was
    possible.
    """
    versus = [VERSUS] * _is_compared(rows) + [VERDICT] * _is_tested(rows)
    return [
        "label",
        "ratio",
        "PSNR dB",
        "SSIM",
        *versus,
        *peak_columns(rows),
        "parameters",
        *COST_HEADERS,
        "status",
    ]


def lines(rows: Sequence[Row]) -> list[list[Entry]]:
    """The entries of every row, in the order of `headers`."""
    compared, tested = _is_compared(rows), _is_tested(rows)
    return [_line(rows, row, compared, tested) for row in rows]


def notes(rows: Sequence[Row]) -> list[str]:
    """Sentences, without full stop, on the comparison."""
    if not _is_compared(rows):
        return []
    what = "PSNR minus that of the first row of MOSP, mean over photographs, and its 95 % bootstrap interval"
    photographs, seeds = (
        max(row[name] or 0 for row in rows) for name in ("photographs", "paired_seeds")
    )
    counts = (
        f"The interval draws {photographs} photographs and {seeds} seed{'s' * (seeds > 1)} again"
        + _doubts(photographs, seeds)
    )
    few = f"Too few images for a test of significance: it takes {LEAST_PHOTOGRAPHS} independent photographs"
    test = "Verdict: Wilcoxon's signed ranks over photographs at 5 %, corrected after Holm for the rows of a ratio"
    return [f"{VERSUS}: {what}", counts, test if _is_tested(rows) else few]


def _doubts(photographs: int, seeds: int) -> str:
    """What an interval from so little leaves out."""
    narrow = (
        "; from so few photographs it comes out too narrow"
        if photographs < LEAST_PHOTOGRAPHS
        else ""
    )
    return narrow + ("; with one seed the chance in training is not in it" if seeds < 2 else "")


def _is_compared(rows: Sequence[Row]) -> bool:
    return any(row.get("difference_db") is not None for row in rows)


def _is_tested(rows: Sequence[Row]) -> bool:
    return any(row.get("p_value") is not None for row in rows)


def _line(rows: Sequence[Row], row: Row, compared: bool, tested: bool) -> list[Entry]:
    place = place_among(rows, row)
    return [
        Entry(row["label"], row["label"]),
        Entry(f"{row['ratio']:g}", row["ratio"]),
        _number(row, "psnr_db", ".2f", "" if place is None else PLACES[place]),
        _number(row, "ssim", ".4f"),
        *([_difference(row)] if compared else []),
        *([Entry(verdict(row), verdict(row))] if tested else []),
        *(Entry(ruler_text(row, name), _order(row[name])) for name in peak_columns(rows).values()),
        _parameters(row),
        *(
            _number(row, name, ",.0f" if name == "seconds" else ",d")
            for name in COST_HEADERS.values()
        ),
        Entry(status_text(row), row["status"]),
    ]


def _difference(row: Row) -> Entry:
    """To MOSP, with its interval."""
    if row["difference_db"] is None:
        return Entry(MISSING, _order(None))
    low, high = row["interval_db"]
    return Entry(f"{row['difference_db']:+.2f} ({low:+.2f} to {high:+.2f})", row["difference_db"])


def _parameters(row: Row) -> Entry:
    """Those that are executed, and on a line of their own those that must be stored where they are more."""
    entry, stored = _number(row, "parameters", ",d"), row["parameters_stored"]
    return (
        entry._replace(text=f"{entry.text}\n{stored:,} stored")
        if (stored or 0) > (row["parameters"] or 0)
        else entry
    )


def _number(row: Row, name: str, form: str, mark: str = "") -> Entry:
    return Entry(number(row, name, form, PLAIN), _order(row[name]), mark)


def _order(value: float | None) -> float:
    """What is missing is sorted as less than everything."""
    return -1e300 if value is None else value

"""The table of the page: what the printed table shows, the comparison with MOSP beside it, and of every entry the number to sort by."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.report.frame import COSTS
from bench.report.significance import verdict
from bench.report.table import MISSING, PLACES, Marks, Row, number, place_among, status_text
from bench.units import mib

PLAIN = Marks("{}", "{}", " ± ", str)
BYTES = {"budget MiB": "budget_bytes", "peak MiB": "peak_bytes", "eager MiB": "peak_bytes_eager"}
COST_HEADERS = dict(zip(("steps", "samples", "passes", "seconds"), COSTS, strict=True))


class Entry(NamedTuple):
    """One cell of the table: its text, what it is sorted by, and how it is marked ("bold", "second" or "")."""

    text: str
    order: Any
    mark: str = ""


def headers(rows: Sequence[Row]) -> list[str]:
    """The columns; those of the comparison only where there is one."""
    versus = ["difference dB", "95 % interval", "verdict"] if _is_compared(rows) else []
    return ["label", "ratio", *BYTES, "parameters", "PSNR dB", "SSIM", *versus, *COST_HEADERS, "status"]


def lines(rows: Sequence[Row]) -> list[list[Entry]]:
    """The entries of every row, in the order of `headers`."""
    compared = _is_compared(rows)
    return [_line(rows, row, compared) for row in rows]


def _is_compared(rows: Sequence[Row]) -> bool:
    return any("difference_db" in row for row in rows)


def _line(rows: Sequence[Row], row: Row, compared: bool) -> list[Entry]:
    place = place_among(rows, row)
    return [
        Entry(row["label"], row["label"]),
        Entry(f"{row['ratio']:g}", row["ratio"]),
        *(Entry(MISSING if row[name] is None else f"{mib(row[name]):.1f}", _order(row[name])) for name in BYTES.values()),
        _number(row, "parameters", ",d"),
        _number(row, "psnr_db", ".2f", "" if place is None else PLACES[place]),
        _number(row, "ssim", ".4f"),
        *(_versus(row) if compared else []),
        *(_number(row, name, ",.0f" if name == "seconds" else ",d") for name in COST_HEADERS.values()),
        Entry(status_text(row), row["status"]),
    ]


def _versus(row: Row) -> list[Entry]:
    """Difference to MOSP, its interval, and whether it is significant."""
    difference_db = row["difference_db"]
    if difference_db is None:
        return [Entry(MISSING, _order(None)), Entry(MISSING, _order(None)), Entry(verdict(row), "")]
    low, high = row["interval_db"]
    return [Entry(f"{difference_db:+.2f}", difference_db), Entry(f"{low:+.2f} to {high:+.2f}", low), Entry(verdict(row), verdict(row))]


def _number(row: Row, name: str, form: str, mark: str = "") -> Entry:
    return Entry(number(row, name, form, PLAIN), _order(row[name]), mark)


def _order(value: float | None) -> float:
    """What is missing is sorted as less than everything."""
    return -1e300 if value is None else value

"""The tables of the page: the pivot of methods and budgets, and the whole table.

The whole one is the printed table, with the comparison with MOSP beside it. Each entry has the
number that it is sorted by.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.report.captions import describe_sample, describe_test, format_status
from bench.report.frame import Row
from bench.report.pivot import Pivot
from bench.report.ranks import find_mark, format_rank
from bench.report.statistics import MIN_SCENES, MIN_SEEDS
from bench.report.table import (
    COST_COLUMNS,
    MISSING,
    Markup,
    format_mean,
    format_measurement,
    measurement_columns,
    standing_columns,
)

DIFFERENCE_HEADER = "versus MOSP dB"
NO_RANK = 10**6  # sorts rows without a rank behind all others
PLAIN = Markup("{}", "{}", " ± ", str)


class Entry(NamedTuple):
    """One cell of the table: text, sort key, and mark ("bold", "second" or "")."""

    text: str
    order: Any
    mark: str = ""


class PivotEntry(NamedTuple):
    """One cell of the pivot: PSNR with its interval, rank, and share of the rows that it beats."""

    text: str
    order: float
    rank: str
    share: float | None


NO_VALUE = -1e300  # sorts below all others
MISSING_ENTRY = PivotEntry(MISSING, NO_VALUE, "", None)


def pivot_lines(pivot: Pivot) -> dict[str, list[PivotEntry]]:
    """Return an entry for each ratio of every label, in the order of the pivot."""
    return {
        label: [MISSING_ENTRY if row is None else _pivot_entry(row) for row in rows]
        for label, rows in pivot.lines.items()
    }


def _pivot_entry(row: Row) -> PivotEntry:
    """Return the entry of one row."""
    if row["psnr_db"] is None:
        return MISSING_ENTRY._replace(text=format_status(row))
    share = None
    if row["psnr_rank"]:
        share = (row["ranked_rows"] - row["psnr_rank"]) / max(1, row["ranked_rows"] - 1)
    rank = format_rank(row) if row["psnr_rank"] else ""
    return PivotEntry(format_mean(row, "psnr_db", ".2f", PLAIN), row["psnr_db"], rank, share)


def table_headers(rows: Sequence[Row]) -> list[str]:
    """Return the headers, quality first, so that a narrow screen shows it.

    The columns of ranks and of the comparison are included only if there are any, and the verdict
    only if a test was possible.
    """
    return [
        "label",
        "ratio",
        "PSNR dB",
        *standing_columns(rows),
        *([DIFFERENCE_HEADER] if _has_comparison(rows) else []),
        "SSIM",
        *measurement_columns(rows),
        "parameters",
        *COST_COLUMNS,
        "status",
    ]


def table_lines(rows: Sequence[Row]) -> list[list[Entry]]:
    """Return the entries of every row, in the order of `table_headers`."""
    return [_build_line(rows, row) for row in rows]


def comparison_notes(rows: Sequence[Row]) -> list[str]:
    """Return sentences, without full stop, on the comparison."""
    if not _has_comparison(rows):
        return []
    seeds, scenes = max((row["paired_seeds"] or 0, row["scenes"] or 0) for row in rows)
    mean = "PSNR minus that of the first row of MOSP, mean over scenes and seeds"
    if _has_test(rows):
        return [f"{DIFFERENCE_HEADER}: {mean}, and its 95 % interval", describe_test()]
    return [
        f"{DIFFERENCE_HEADER}: {mean}; {describe_sample(seeds, scenes)}: not tested, because a "
        f"test takes {MIN_SEEDS} seeds and {MIN_SCENES} scenes"
    ]


def _has_comparison(rows: Sequence[Row]) -> bool:
    return any(row["difference_db"] is not None for row in rows)


def _has_test(rows: Sequence[Row]) -> bool:
    return any(row["verdict"] for row in rows)


def _build_line(rows: Sequence[Row], row: Row) -> list[Entry]:
    orders = {"rank": row["psnr_rank"] or NO_RANK}
    return [
        Entry(row["label"], row["label"]),
        Entry(f"{row['ratio']:g}", row["ratio"]),
        _number_entry(row, "psnr_db", ".2f", find_mark(rows, row)),
        *(
            Entry(describe(row), orders.get(header, describe(row)))
            for header, describe in standing_columns(rows).items()
        ),
        *([_difference_entry(row)] if _has_comparison(rows) else []),
        _number_entry(row, "ssim", ".4f"),
        *(
            Entry(format_measurement(row, name), _sort_key(row[name]))
            for name in measurement_columns(rows).values()
        ),
        _parameters_entry(row),
        *(_number_entry(row, *column) for column in COST_COLUMNS.values()),
        Entry(format_status(row), row["status"]),
    ]


def _difference_entry(row: Row) -> Entry:
    """Return the difference to MOSP, with its interval if it was tested."""
    if row["difference_db"] is None:
        return Entry(MISSING, _sort_key(None))
    interval = " ({:+.2f} to {:+.2f})".format(*row["interval_db"]) if row["interval_db"] else ""
    return Entry(f"{row['difference_db']:+.2f}{interval}", row["difference_db"])


def _parameters_entry(row: Row) -> Entry:
    """Return the executed parameters, with a second line if more must be stored."""
    entry = _number_entry(row, "parameters", ",d")
    stored = row["parameters_stored"] or 0
    if stored <= (row["parameters"] or 0):
        return entry
    return entry._replace(text=f"{entry.text}\n{stored:,} stored")


def _number_entry(row: Row, name: str, number_format: str, mark: str = "") -> Entry:
    return Entry(format_mean(row, name, number_format, PLAIN), _sort_key(row[name]), mark)


def _sort_key(value: float | None) -> float:
    """Return a number to sort by; a missing value is below all others."""
    return NO_VALUE if value is None else value

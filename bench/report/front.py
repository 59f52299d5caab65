"""The Pareto front of rows in memory, time and quality: which rows no other row dominates.

A row dominates another one if it is as good in all three and better in one. Time is that of an
image as a share of the unpruned network's; MACs stand in where a row has none.
"""

from collections.abc import Sequence
from typing import Any

from bench.report.frame import Row, budgeted_peak_bytes, group_by, section_key


def find_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each point whether no other one dominates it.

    Args:
        points: with as many values each; less is better.
    """
    return [not any(_dominates(other, point) for other in points) for point in points]


def _dominates(point: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(point, other, strict=True))
    return all(ours <= theirs for ours, theirs in pairs) and any(a < b for a, b in pairs)


def time_field(rows: Sequence[Row]) -> str:
    """Return the field that all rows have for time: "relative_time" or "macs"; "" for neither."""
    names = ("relative_time", "macs")
    return next((name for name in names if all(row[name] is not None for row in rows)), "")


def add_front(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with `on_front`, within their section; None for rows without a result."""
    result = [row | {"on_front": None} for row in rows]
    for section in group_by(result, section_key):
        done = [
            row
            for row in section
            if row["psnr_db"] is not None and budgeted_peak_bytes(row) is not None
        ]
        time = time_field(done)
        points = [
            (budgeted_peak_bytes(row) or 0, row[time] if time else 0.0, -row["psnr_db"])
            for row in done
        ]
        for row, is_on_front in zip(done, find_front(points), strict=True):
            row["on_front"] = is_on_front
    return result

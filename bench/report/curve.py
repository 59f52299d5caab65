"""The trade-off curve: PSNR against peak memory, one line per label.

The x of a point is the peak that was reached, in the convention of the budget, not the budget. The unpruned network is a dashed line: what
pruning started from. With several seeds a point is the mean and its bar the 95 % interval of the mean. One panel for each section of
`frame` (task, network, input, convention). Drawn on a figure of its own, without pyplot, so that no global state is touched.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cell import UNPRUNED, Record
from bench.errors import ConfigError
from bench.report.frame import rows, section
from bench.report.style import NEUTRAL, drawn, styles
from bench.report.table import title
from bench.units import mib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
PANEL_INCHES = (7.0, 4.5)


def draw(records: Sequence[Record], path: Path | str) -> Path:
    """Writes the curve; the ending of `path` chooses the format (png, svg, pdf). Returns the path.

    Raises:
        ConfigError: no record has a PSNR, so there is nothing to draw.
    """
    panels = _panels(records)
    if not panels:
        raise ConfigError("there is no finished record with a PSNR, so there is no curve to draw; run the study first")
    look = styles(list(dict.fromkeys(row["label"] for panel in panels for row in panel if row["method"] != UNPRUNED)))
    with drawn(Path(path), (PANEL_INCHES[0], PANEL_INCHES[1] * len(panels))) as figure:
        for axes, panel in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
            _panel(axes, panel, look)
    return Path(path)


def _panels(records: Sequence[Record]) -> list[list[Row]]:
    """The rows that have a PSNR and a peak, section by section."""
    measured = [row for row in rows(records) if row["psnr_db"] is not None and _peak_bytes(row) is not None]
    return [list(group) for _, group in groupby(measured, key=section)]


def _peak_bytes(row: Row) -> int | None:
    """The peak in the convention of the budget."""
    peak: int | None = row["peak_bytes_eager" if row["convention"] == "eager" else "peak_bytes"]
    return peak


def _panel(axes: "Axes", panel: Sequence[Row], look: Mapping[str, Mapping[str, Any]]) -> None:
    """One line per label, the unpruned network, axes and legend."""
    pruned = [row for row in panel if row["method"] != UNPRUNED]
    lines = {label: [row for row in pruned if row["label"] == label] for label in dict.fromkeys(row["label"] for row in pruned)}
    for label, points in lines.items():
        _line(axes, label, sorted(points, key=lambda row: _peak_bytes(row) or 0), look[label])
    for row in panel:
        if row["method"] == UNPRUNED:
            _unpruned(axes, row)
    _dress(axes, panel)


def _line(axes: "Axes", label: str, points: Sequence[Row], look: Mapping[str, Any]) -> None:
    """The points of one label, with bars where there are several seeds."""
    x, y = [mib(_peak_bytes(row) or 0) for row in points], [row["psnr_db"] for row in points]
    spread = [row["psnr_db_half95"] or 0.0 for row in points]
    if any(spread):
        axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=look["color"], capsize=3, elinewidth=1.1)
    axes.plot(x, y, label=label, markeredgecolor="white", markeredgewidth=0.6, **look)


def _unpruned(axes: "Axes", row: Row) -> None:
    """Where pruning started: a dashed line at its PSNR, a star at its peak."""
    peak_mib, psnr_db = mib(_peak_bytes(row) or 0), row["psnr_db"]
    axes.axhline(psnr_db, color=NEUTRAL, linestyle="--", linewidth=1, zorder=1)
    if row["psnr_db_half95"]:
        axes.errorbar([peak_mib], [psnr_db], yerr=[row["psnr_db_half95"]], fmt="none", ecolor=NEUTRAL, capsize=3, elinewidth=1.1)
    axes.plot([peak_mib], [psnr_db], color=NEUTRAL, marker="*", markersize=11, linestyle="--", linewidth=1, label=row["label"])


def _dress(axes: "Axes", panel: Sequence[Row]) -> None:
    """Title, axis labels, budgets and legend."""
    first, seeds = panel[0], max(row["seeds"] for row in panel)
    averaged = f", mean and 95 % interval over {seeds} seeds" if seeds > 1 else ""
    axes.set_title(title(first) + averaged, loc="left", pad=18)
    axes.set_xlabel(f"peak memory ({first['convention']}) at {first['measured_at']}, MiB")
    axes.set_ylabel("PSNR, dB")
    axes.margins(x=0.04, y=0.08)
    axes.grid(visible=False, axis="x")
    _budgets(axes, panel)
    _legend(axes, panel)


def _budgets(axes: "Axes", panel: Sequence[Row]) -> None:
    """A dotted line at each budget, with its ratio on top."""
    for ratio, budget_bytes in {row["ratio"]: row["budget_bytes"] for row in panel if row["budget_bytes"]}.items():
        axes.axvline(mib(budget_bytes), color="0.8", linestyle=":", linewidth=1, zorder=0)
        place: Any = {"xy": (mib(budget_bytes), 1), "xycoords": ("data", "axes fraction"), "xytext": (0, 3), "textcoords": "offset points"}
        axes.annotate(f"{ratio:g}" if ratio < 1 else "1", **place, ha="center", fontsize=8.5, color=NEUTRAL)
    axes.annotate(
        "ratio", (0, 1), xycoords="axes fraction", xytext=(-6, 3), textcoords="offset points", ha="right", fontsize=8.5, color=NEUTRAL
    )


def _legend(axes: "Axes", panel: Sequence[Row]) -> None:
    """Outside, so that it hides nothing; in the order of the lines' points at the largest ratio."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    height = {row["label"]: row["psnr_db"] for row in sorted(panel, key=lambda row: row["ratio"])}
    order = sorted(handles, key=lambda label: -height[label])
    axes.legend([handles[label] for label in order], order, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)

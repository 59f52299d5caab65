"""The trade-off curve: PSNR against peak memory, one line per label (Fig. 1 of the MOSP paper).

The x of a point is the peak that was reached, in the convention of the budget, not the budget. The
unpruned network is a dashed line: what pruning started from; a pale line joins the points that
nothing beats in both (Pareto front). With several seeds a point is the mean and its bar the 95 %
interval of the mean. One panel for each section of `frame` (task, network, input, convention).
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError
from bench.records import UNPRUNED, Record
from bench.report.frame import rows, section
from bench.report.style import NEUTRAL, drawn, line, styles
from bench.report.table import title
from bench.units import mib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
FRONT = "Pareto front"
PANEL_INCHES = (7.0, 4.5)


def draw(records: Sequence[Record], path: Path | str) -> Path:
    """Writes the curve; the ending of `path` chooses the format (png, svg, pdf). Returns the path.

    Raises:
        ConfigError: no record has a PSNR, so there is nothing to draw.
    """
    found = panels(records)
    if not found:
        raise ConfigError(
            "there is no finished record with a PSNR, so there is no curve to draw; run the study first"
        )
    look = styles(
        list(
            dict.fromkeys(
                row["label"] for panel in found for row in panel if row["method"] != UNPRUNED
            )
        )
    )
    with drawn(Path(path), (PANEL_INCHES[0], PANEL_INCHES[1] * len(found))) as figure:
        for axes, panel in zip(
            figure.subplots(len(found), 1, squeeze=False)[:, 0], found, strict=True
        ):
            _panel(axes, panel, look)
    return Path(path)


def panels(records: Sequence[Record]) -> list[list[Row]]:
    """The rows that have a PSNR and a peak, section by section."""
    measured = [
        row
        for row in rows(records)
        if row["psnr_db"] is not None and reached_bytes(row) is not None
    ]
    return [list(group) for _, group in groupby(measured, key=section)]


def reached_bytes(row: Row) -> int | None:
    """The peak in the convention of the budget."""
    peak: int | None = row["peak_bytes_eager" if row["convention"] == "eager" else "peak_bytes"]
    return peak


def pareto(panel: Sequence[Row]) -> list[Row]:
    """The rows that no other row of the panel beats, with less or equal peak and a higher PSNR; from the smallest peak to the largest."""
    front: list[Row] = []
    for row in sorted(panel, key=lambda row: (reached_bytes(row) or 0, -row["psnr_db"])):
        if not front or row["psnr_db"] > front[-1]["psnr_db"]:
            front.append(row)
    return front


def _panel(axes: "Axes", panel: Sequence[Row], look: Mapping[str, Mapping[str, Any]]) -> None:
    """One line per label, the unpruned network, axes and legend."""
    pruned = [row for row in panel if row["method"] != UNPRUNED]
    lines = {
        label: [row for row in pruned if row["label"] == label]
        for label in dict.fromkeys(row["label"] for row in pruned)
    }
    for label, points in lines.items():
        ordered = sorted(points, key=lambda row: reached_bytes(row) or 0)
        line(axes, label, [mib(reached_bytes(row) or 0) for row in ordered], ordered, look[label])
    for row in panel:
        if row["method"] == UNPRUNED:
            _unpruned(axes, row)
    _front(axes, pareto(panel))
    _dress(axes, panel)


def _unpruned(axes: "Axes", row: Row) -> None:
    """Where pruning started: a dashed line at its PSNR, a star at its peak."""
    peak_mib, psnr_db = mib(reached_bytes(row) or 0), row["psnr_db"]
    axes.axhline(psnr_db, color=NEUTRAL, linestyle="--", linewidth=1, zorder=1)
    if row["psnr_db_half95"]:
        axes.errorbar(
            [peak_mib],
            [psnr_db],
            yerr=[row["psnr_db_half95"]],
            fmt="none",
            ecolor=NEUTRAL,
            capsize=3,
            elinewidth=1.1,
        )
    axes.plot(
        [peak_mib],
        [psnr_db],
        color=NEUTRAL,
        marker="*",
        markersize=11,
        linestyle="--",
        linewidth=1,
        label=row["label"],
    )


def _front(axes: "Axes", front: Sequence[Row]) -> None:
    """A wide pale line behind the points that nothing beats."""
    x, y = [mib(reached_bytes(row) or 0) for row in front], [row["psnr_db"] for row in front]
    axes.plot(
        x,
        y,
        color="0.85",
        linewidth=5,
        solid_capstyle="round",
        solid_joinstyle="round",
        zorder=0.5,
        label=FRONT,
    )


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
    for ratio, budget_bytes in {
        row["ratio"]: row["budget_bytes"] for row in panel if row["budget_bytes"]
    }.items():
        axes.axvline(mib(budget_bytes), color="0.8", linestyle=":", linewidth=1, zorder=0)
        place: Any = {
            "xy": (mib(budget_bytes), 1),
            "xycoords": ("data", "axes fraction"),
            "xytext": (0, 3),
            "textcoords": "offset points",
        }
        axes.annotate(
            f"{ratio:g}" if ratio < 1 else "1", **place, ha="center", fontsize=8.5, color=NEUTRAL
        )
    axes.annotate(
        "ratio",
        (0, 1),
        xycoords="axes fraction",
        xytext=(-6, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
        color=NEUTRAL,
    )


def _legend(axes: "Axes", panel: Sequence[Row]) -> None:
    """Outside, so that it hides nothing; in the order of the lines' points at the largest ratio."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    height = {row["label"]: row["psnr_db"] for row in sorted(panel, key=lambda row: row["ratio"])}
    order = sorted(handles, key=lambda label: -height.get(label, 0))
    axes.legend(
        [handles[label] for label in order],
        order,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
    )

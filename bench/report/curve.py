"""The trade-off curve: PSNR against peak memory, one line per label (Fig. 1 of the MOSP paper).

The x of a point is the peak of the pruned network in the convention of the budget, not the budget.
A dashed line is the unpruned network, from which pruning started; a pale line joins the points of
the Pareto front. Over several seeds a point is the mean; from three on, its bar is the 95 %
interval of the mean over seeds. Each section has one panel (task, network, input, convention).
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError
from bench.records import UNPRUNED
from bench.report.captions import section_title
from bench.report.frame import Row, section_key
from bench.report.results import RunResults
from bench.report.statistics import MIN_SEEDS
from bench.report.style import NEUTRAL, draw_line, label_styles, open_figure
from bench.units import mib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRONT_LABEL = "Pareto front"
PANEL_INCHES = (7.0, 4.5)


def draw(results: RunResults, path: Path | str) -> Path:
    """Write the curve as png, svg or pdf, by the suffix of `path`; return the path.

    Raises:
        ConfigError: no record has a PSNR, so there is nothing to draw.
    """
    panels = select_panels(results)
    if not panels:
        raise ConfigError(
            "there is no finished record with a PSNR, so there is no curve to draw; "
            "run the study first"
        )
    labels = dict.fromkeys(
        row["label"] for panel in panels for row in panel if row["method"] != UNPRUNED
    )
    styles = label_styles(list(labels))
    with open_figure(Path(path), (PANEL_INCHES[0], PANEL_INCHES[1] * len(panels))) as figure:
        all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_panel(axes, panel, styles)
    return Path(path)


def select_panels(results: RunResults) -> list[list[Row]]:
    """Return the rows that have a PSNR and a peak, section by section."""
    measured = [
        row
        for row in results.rows
        if row["psnr_db"] is not None and budgeted_peak_bytes(row) is not None
    ]
    return [list(rows) for _, rows in groupby(measured, key=section_key)]


def budgeted_peak_bytes(row: Row) -> int | None:
    """Return the peak of a row in the convention of its budget."""
    peak: int | None = row["peak_bytes_eager" if row["convention"] == "eager" else "peak_bytes"]
    return peak


def pareto_front(panel: Sequence[Row]) -> list[Row]:
    """Return the rows on the Pareto front, by rising peak.

    No other row of the panel has a peak that is not larger and a PSNR that is higher.
    """
    front: list[Row] = []
    for row in sorted(panel, key=lambda row: (budgeted_peak_bytes(row) or 0, -row["psnr_db"])):
        if not front or row["psnr_db"] > front[-1]["psnr_db"]:
            front.append(row)
    return front


def _draw_panel(
    axes: "Axes", panel: Sequence[Row], styles: Mapping[str, Mapping[str, Any]]
) -> None:
    """Draw one line per label, the unpruned network, the axes and the legend."""
    pruned = [row for row in panel if row["method"] != UNPRUNED]
    for label in dict.fromkeys(row["label"] for row in pruned):
        rows = [row for row in pruned if row["label"] == label]
        rows.sort(key=lambda row: budgeted_peak_bytes(row) or 0)
        draw_line(axes, label, [_peak_mib(row) for row in rows], rows, styles[label])
    for row in panel:
        if row["method"] == UNPRUNED:
            _draw_unpruned(axes, row)
    _draw_front(axes, pareto_front(panel))
    _label_axes(axes, panel)


def _peak_mib(row: Row) -> float:
    return mib(budgeted_peak_bytes(row) or 0)


def _draw_unpruned(axes: "Axes", row: Row) -> None:
    """Draw the unpruned network: a dashed line at its PSNR and a star at its peak."""
    peak_mib = _peak_mib(row)
    psnr_db = row["psnr_db"]
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


def _draw_front(axes: "Axes", front: Sequence[Row]) -> None:
    """Draw a wide pale line behind the points of the Pareto front."""
    axes.plot(
        [_peak_mib(row) for row in front],
        [row["psnr_db"] for row in front],
        color="0.85",
        linewidth=5,
        solid_capstyle="round",
        solid_joinstyle="round",
        zorder=0.5,
        label=FRONT_LABEL,
    )


def _label_axes(axes: "Axes", panel: Sequence[Row]) -> None:
    """Add title, axis labels, budgets and legend."""
    first = panel[0]
    seeds = max(row["seeds"] for row in panel)
    interval = " and 95 % interval" if seeds >= MIN_SEEDS else ""
    averaged = f"\nmean{interval} over {seeds} seeds" if seeds > 1 else ""
    axes.set_title(section_title(first) + averaged, loc="left", pad=18)
    axes.set_xlabel(f"peak memory ({first['convention']}) at {first['measured_at']}, MiB")
    axes.set_ylabel("PSNR, dB")
    axes.margins(x=0.04, y=0.08)
    axes.grid(visible=False, axis="x")
    _draw_budgets(axes, panel)
    _add_legend(axes, panel)


def _draw_budgets(axes: "Axes", panel: Sequence[Row]) -> None:
    """Draw a dotted line at each budget, with its ratio on top."""
    budgets = {row["ratio"]: row["budget_bytes"] for row in panel if row["budget_bytes"]}
    for ratio, budget_bytes in budgets.items():
        axes.axvline(mib(budget_bytes), color="0.8", linestyle=":", linewidth=1, zorder=0)
        axes.annotate(
            f"{ratio:g}" if ratio < 1 else "1",
            (mib(budget_bytes), 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=NEUTRAL,
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


def _add_legend(axes: "Axes", panel: Sequence[Row]) -> None:
    """Add a legend outside the axes, in the order of the PSNR at the largest ratio."""
    handles, labels = axes.get_legend_handles_labels()
    handle_of_label = dict(zip(labels, handles, strict=True))
    by_ratio = sorted(panel, key=lambda row: row["ratio"])
    psnr_of_label = {row["label"]: row["psnr_db"] for row in by_ratio}
    order = sorted(handle_of_label, key=lambda label: -psnr_of_label.get(label, 0))
    axes.legend(
        [handle_of_label[label] for label in order],
        order,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize="small",
        labelspacing=0.4,  # twenty rows fit beside the axes
    )

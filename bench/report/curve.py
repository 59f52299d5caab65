"""The trade-off curve: PSNR against peak memory, one line per label (Fig. 1 of the MOSP paper).

The x of a point is the peak of the pruned network in the convention of the budget, not the budget.
A dashed line is the unpruned network, from which pruning started; a pale line joins the points of
the Pareto front. Each line has its name at its right end. Over several seeds a point is the mean;
from three on, its bar is the 95 % interval of the mean over seeds, cut at the ends of the axis.
Each section has one panel (task, network, input, convention).
"""

from collections.abc import Mapping, Sequence
from itertools import compress, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import ConfigError
from bench.report.axes import ROOM_DB, quality_axis
from bench.report.captions import section_title
from bench.report.frame import Row, budgeted_peak_bytes, is_reference, section_key
from bench.report.front import find_front
from bench.report.results import RunResults
from bench.report.statistics import MIN_SEEDS, spread_apart
from bench.report.style import (
    BASE_ORDER,
    FULL_INCHES,
    NEUTRAL,
    draw_line,
    label_styles,
    open_figure,
    wrap_title,
)
from bench.units import mib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRONT_LABEL = "Pareto front"
MIN_PANEL_INCHES = 3.2
FRAME_INCHES = 0.75  # budgets, ticks and label of the x axis
LINE_INCHES = 0.135  # of a name, or of the title
MARGIN = 0.2  # below the worst row, in positions of the quality axis
TICKS = 11
NAMES_AT = 1.03  # share of the axes


def draw(results: RunResults, path: Path, *copies: Path, width_inches: float = FULL_INCHES) -> Path:
    """Write the curve as png, svg or pdf, by the suffix of each path; return the first path.

    Args:
        results: of the run.
        path: of the file.
        copies: files for the same figure in other formats.
        width_inches: at which the text has its size in print.

    Raises:
        ConfigError: no record has a PSNR, so there is nothing to draw.
    """
    panels = select_panels(results)
    if not panels:
        raise ConfigError(
            "there is no finished record with a PSNR, so there is no curve to draw; "
            "run the study first"
        )
    styles = label_styles(results.methods)
    titles = [_write_title(panel, width_inches) for panel in panels]
    frames = [FRAME_INCHES + LINE_INCHES * len(title.splitlines()) for title in titles]
    heights = [
        max(MIN_PANEL_INCHES, frame + LINE_INCHES * len({row["label"] for row in panel}))
        for panel, frame in zip(panels, frames, strict=True)
    ]
    with open_figure((path, *copies), (width_inches, sum(heights))) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, panel, title, height, frame in zip(
            grid[:, 0], panels, titles, heights, frames, strict=True
        ):
            ends = _draw_panel(axes, panel, styles)
            axes.set_title(title, loc="left", pad=14)
            _label_axes(axes, panel)
            _name_lines(axes, ends, styles, LINE_INCHES / (height - frame))
    return path


def _write_title(panel: Sequence[Row], width_inches: float) -> str:
    """Return the title of a panel, in lines that fit the width."""
    first = panel[0]
    seeds = max(row["seeds"] for row in panel)
    interval = " and 95 % interval" if seeds >= MIN_SEEDS else ""
    averaged = f"mean{interval} over {seeds} seeds" if seeds > 1 else "one seed"
    marks = f"Numbers on top: ratios; pale line: {FRONT_LABEL}; PSNR is stretched towards the top."
    caption = f"Input {first['measured_at']}; {averaged}. {marks}"
    return wrap_title(section_title(first), caption, inches=width_inches)


def select_panels(results: RunResults) -> list[list[Row]]:
    """Return the rows that have a PSNR and a peak, section by section."""
    measured = [
        row
        for row in results.rows
        if row["psnr_db"] is not None and budgeted_peak_bytes(row) is not None
    ]
    return [list(rows) for _, rows in groupby(measured, key=section_key)]


def pareto_front(panel: Sequence[Row]) -> list[Row]:
    """Return the rows on the Pareto front of peak and PSNR, by rising peak."""
    is_on_front = find_front([(peak_mib(row), -row["psnr_db"]) for row in panel])
    return sorted(compress(panel, is_on_front), key=peak_mib)


def _draw_panel(
    axes: "Axes", panel: Sequence[Row], styles: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[float, float]]:
    """Draw one line per label, the unpruned network and the Pareto front.

    Returns:
        Label -> right end of its line (MiB, dB).
    """
    ends: dict[str, tuple[float, float]] = {}
    for label in dict.fromkeys(row["label"] for row in panel):
        rows = [row for row in panel if row["label"] == label]
        rows.sort(key=peak_mib)
        style = dict(styles[label])
        if is_reference(rows[0]):
            axes.axhline(rows[0]["psnr_db"], color=NEUTRAL, ls="--", lw=0.8, zorder=1)
            style |= {"markersize": 9, "linestyle": "none"}
        draw_line(axes, label, [peak_mib(row) for row in rows], rows, style)
        ends[label] = (peak_mib(rows[-1]), rows[-1]["psnr_db"])
    _draw_front(axes, pareto_front(panel))
    return ends


def peak_mib(row: Row) -> float:
    """Return the peak of a row in the convention of its budget, in MiB; 0 without one."""
    return mib(budgeted_peak_bytes(row) or 0)


def _name_lines(
    axes: "Axes",
    ends: Mapping[str, tuple[float, float]],
    styles: Mapping[str, Mapping[str, Any]],
    gap: float,
) -> None:
    """Write each name beside the axes, with its marker, joined to the end of its line (MiB, dB).

    `gap` is the height of a name, as a share of the axes.
    """
    axes.autoscale_view(scaley=False)
    axes.autoscale(enable=False)
    to_share = axes.transData + axes.transAxes.inverted()
    heights = spread_apart([to_share.transform(end)[1] for end in ends.values()], gap)
    for (label, end), height in zip(ends.items(), heights, strict=True):
        colour, marker = styles[label]["color"], styles[label]["marker"]
        place = (NAMES_AT, height)
        arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.6}
        axes.annotate(
            "", end, place, textcoords="axes fraction", annotation_clip=False, arrowprops=arrow
        )
        axes.plot(
            *([part] for part in place),
            transform=axes.transAxes,
            clip_on=False,
            color=colour,
            marker=marker,
            markersize=4.5,
        )
        axes.annotate(
            label,
            place,
            (5, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold" if styles[label]["zorder"] > BASE_ORDER else "normal",
            annotation_clip=False,
        )


def _draw_front(axes: "Axes", front: Sequence[Row]) -> None:
    """Draw a wide pale line behind the points of the Pareto front."""
    axes.plot(
        [peak_mib(row) for row in front],
        [row["psnr_db"] for row in front],
        color="0.85",
        linewidth=4,
        solid_capstyle="round",
        solid_joinstyle="round",
        zorder=0.5,
    )


def _stretch_quality(axes: "Axes", values_db: Sequence[float]) -> None:
    """Stretch the y axis towards the best value, and cut intervals at its ends."""
    axis = quality_axis(values_db)
    top_db = max(values_db) + ROOM_DB
    low_db = axis.value(axis.position(min(values_db)) - MARGIN)
    forward, backward = (np.vectorize(to, [float]) for to in (axis.position, axis.value))
    axes.set_yscale("function", functions=(forward, backward))
    axes.set_ylim(low_db, top_db)
    axes.set_yticks(axis.ticks(low_db, top_db, TICKS))
    axes.yaxis.set_major_formatter("{x:g}")


def _label_axes(axes: "Axes", panel: Sequence[Row]) -> None:
    """Add axis labels and budgets."""
    axes.set_xlabel(f"peak memory ({panel[0]['convention']}), MiB")
    axes.set_ylabel("PSNR, dB")
    axes.margins(x=0.04)
    _stretch_quality(axes, [row["psnr_db"] for row in panel])
    axes.grid(visible=False, axis="x")
    budgets = {row["ratio"]: row["budget_bytes"] for row in panel if row["budget_bytes"]}
    for ratio, budget_bytes in budgets.items():
        axes.axvline(mib(budget_bytes), color="0.8", linestyle=":", linewidth=0.8, zorder=0)
        axes.annotate(
            f"{min(ratio, 1):g}",
            (mib(budget_bytes), 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            color=NEUTRAL,
        )

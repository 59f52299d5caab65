"""The ranks of all rows with their 95 % intervals, and which rows cannot be told apart.

It is the critical-difference diagram of Demsar (2006), with an interval of its own for each row.
Each ratio has a panel with the best row on top: a point at the row's rank, and a line over its
interval. Beside it, one bar joins the rows than which no other is measurably better, and one the
rows that are level with MOSP. Colours say whether a row is better or worse than MOSP.
"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from bench.errors import ConfigError
from bench.report.captions import section_title, shorten_label
from bench.report.frame import Row, group_by, section_key
from bench.report.results import RunResults
from bench.report.statistics import MIN_SCENES, MIN_SEEDS
from bench.report.style import FULL_INCHES, NEUTRAL, open_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 2
PANEL_WIDTH, ROW_HEIGHT, FRAME_HEIGHT = FULL_INCHES / COLUMNS, 0.17, 0.8
MAX_LABEL, MAX_TITLE = 26, 40  # characters
LEGEND_ENTRIES = 2  # a line of the legend has so many for each column of panels
BEST, REFERENCE, UNTESTED = "none is measurably better", "reference", "not tested"
BAR_LEFT, BAR_STEP = 1.0, 0.9  # ranks from the last one to the first bar, and to the next
# Verdict -> index in seaborn's palette "colorblind", marker.
STYLES = {
    "better": (2, "^"),
    "level": (0, "o"),
    "worse": (3, "v"),
    REFERENCE: (7, "D"),
    UNTESTED: (7, "o"),
}


def draw(results: RunResults, path: Path, *copies: Path) -> Path:
    """Write the figure as png, svg or pdf, by the suffix of each path; return the first path.

    Raises:
        ConfigError: no row has an interval.
    """
    panels = build_panels(results)
    if not panels:
        raise ConfigError(
            f"no row has an interval of its rank; it takes {MIN_SEEDS} seeds and {MIN_SCENES} "
            "scenes: run the study with more of them"
        )
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    height = FRAME_HEIGHT + ROW_HEIGHT * max(map(len, panels))
    with open_figure((path, *copies), (PANEL_WIDTH * columns, height * lines + 0.4)) as figure:
        all_axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axes, panel in zip(all_axes, panels, strict=False):
            _draw_panel(axes, panel)
            title = f"ratio {panel[0]['ratio']:g}"
            if len({section_key(panel[0]) for panel in panels}) > 1:
                title = f"{fill(section_title(panel[0]), MAX_TITLE)}\n{title}"
            axes.set_title(title)
        for axes in all_axes[len(panels) :]:
            axes.set_axis_off()
        _add_legend(figure, panels, columns)
    return path


def build_panels(results: RunResults) -> list[list[Row]]:
    """Return the rows of each section and ratio that have an interval, the best first."""
    ranked = [row for row in results.rows if row["psnr_rank_low"] is not None]
    blocks = group_by(ranked, lambda row: (section_key(row), row["ratio"]))
    return [sorted(block, key=lambda row: row["psnr_rank"]) for block in blocks if len(block) > 1]


def _draw_panel(axes: "Axes", panel: Sequence[Row]) -> None:
    """Draw the rows of one section and ratio, from top to bottom, and the bars beside them."""
    count = len(panel)
    for position, row in enumerate(panel):
        kind = _find_kind(row)
        color = _find_color(kind)
        axes.plot(
            (row["psnr_rank_low"], row["psnr_rank_high"]), (position, position), color=color, lw=2
        )
        axes.plot(row["psnr_rank"], position, STYLES[kind][1], color=color, ms=5.5, mec="white")
    bars = [
        (NEUTRAL, [row["psnr_rank_low"] == 1 for row in panel]),
        (_find_color("level"), [_find_kind(row) in ("level", REFERENCE) for row in panel]),
    ]
    for index, (bar_color, members) in enumerate(bars):
        x = count + BAR_LEFT + BAR_STEP * index
        for position, is_member in enumerate(members):
            if is_member:
                axes.plot((x, x), (position - 0.5, position + 0.5), color=bar_color, lw=3.5)
    axes.set_yticks(range(count), [shorten_label(row["label"], MAX_LABEL) for row in panel])
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlim(0.4, count + BAR_LEFT + 2 * BAR_STEP)
    axes.set_xticks([1, *range(5, count + 1, 5)] if count > 5 else range(1, count + 1))
    axes.set_xlabel("rank and 95 % interval")


def _find_kind(row: Row) -> str:
    """Return the verdict of a row against MOSP; the reference itself and untested rows apart."""
    if row["label"] == row["versus"]:
        return REFERENCE
    return str(row["verdict"] or UNTESTED)


def _find_color(kind: str) -> tuple[float, float, float]:
    import seaborn

    red, green, blue = seaborn.color_palette("colorblind")[STYLES[kind][0]]
    return red, green, blue


def _add_legend(figure: "Figure", panels: Sequence[Sequence[Row]], columns: int) -> None:
    """Explain the points and bars that occur, below the panels."""
    from matplotlib.lines import Line2D

    kinds = {_find_kind(row) for panel in panels for row in panel}
    names = {"better": "better than MOSP", "level": "level", "worse": "worse", REFERENCE: "MOSP"}
    handles = [
        Line2D([], [], color=_find_color(kind), marker=STYLES[kind][1], ms=5.5, label=name)
        for kind, name in names.items()
        if kind in kinds
    ]
    handles.append(Line2D([], [], color=NEUTRAL, lw=3.5, label=f"bar: {BEST}"))
    if REFERENCE in kinds:
        color = _find_color("level")
        handles.append(Line2D([], [], color=color, lw=3.5, label="bar: level with MOSP"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=LEGEND_ENTRIES * columns,
        frameon=False,
    )

"""The pruning pattern: the share of its channels that each unit keeps, per row and ratio.

Each section and ratio has one panel. Units stand from left to right in the order of execution,
compactors of long skips included; rows stand from top to bottom in the order of the study. Shares
are means over seeds. A grey cell is a unit that the row's network does not have.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ConfigError
from bench.records import UNPRUNED, Record
from bench.report.captions import section_title
from bench.report.frame import cell_fields, section_key
from bench.report.results import RunResults
from bench.report.style import open_figure, wrap_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_PER_UNIT, INCHES_PER_ROW = 0.18, 0.17
INCHES_OF_NAMES, INCHES_OF_LABELS, INCHES_OF_TITLES = 1.3, 2.1, 1.5
MIN_UNITS = 12  # that determine the width of the figure
MISSING_COLOUR = "0.85"
Shares = dict[str, dict[str, float]]  # label -> unit -> kept share


class PatternPanel(NamedTuple):
    """One panel: title, ratio, units in the order of execution, and the kept shares."""

    title: str
    ratio: float
    units: list[str]
    shares: Shares


def draw(results: RunResults, path: Path, *copies: Path) -> Path:
    """Write the pattern as png, svg or pdf, by the suffix of each path; return the first path.

    Raises:
        ConfigError: no record has the widths of a pruned network, so there is nothing to draw.
    """
    panels = build_panels(results)
    if not panels:
        raise ConfigError(
            "there is no finished record of a pruned network, so there is no pattern to draw; "
            "run the study first"
        )
    heights = [INCHES_OF_TITLES + INCHES_PER_ROW * len(panel.shares) for panel in panels]
    units = max(MIN_UNITS, *(len(panel.units) for panel in panels))
    inches = (INCHES_OF_LABELS + INCHES_PER_UNIT * units, sum(heights))
    with open_figure((path, *copies), inches, rc={"axes.grid": False}) as figure:
        all_axes = figure.subplots(
            len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_panel(axes, panel)
            axes.set_title(wrap_title(panel.title, inches=inches[0] - INCHES_OF_NAMES), loc="left")
        figure.draw_without_rendering()  # lays it out
        for axes in all_axes:
            _turn_overlapping_names(axes)
    return path


def build_panels(results: RunResults) -> list[PatternPanel]:
    """Return the panels in the order of the table."""
    pruned = [
        (cell_fields(record.cell), record)
        for record in results.records
        if record.status == "done" and record.widths
    ]
    order: dict[str, int] = {}
    for row, _ in pruned:
        order.setdefault(section_key(row), len(order))
    pruned.sort(key=lambda pair: (order[section_key(pair[0])], -pair[0]["ratio"]))
    panels = []
    for _, section in groupby(pruned, key=lambda pair: section_key(pair[0])):
        pairs = list(section)
        full_widths = _full_widths(record for _, record in pairs)
        without_reference = [pair for pair in pairs if pair[0]["method"] != UNPRUNED]
        for ratio, block in groupby(without_reference, key=lambda pair: pair[0]["ratio"]):
            title = f"{section_title(pairs[0][0])}, ratio {ratio:g}"
            panels.append(
                PatternPanel(
                    f"{title}: share of the channels that is kept; grey: no such layer",
                    ratio,
                    list(full_widths),
                    _kept_shares([record for _, record in block], full_widths),
                )
            )
    return panels


def _full_widths(records: Iterable[Record]) -> dict[str, int]:
    """Return unit -> channels before pruning.

    The order is that of execution, of the network with the most units.
    """
    before = [record.trace[0]["widths"] if record.trace else record.widths for record in records]
    return {unit: max(widths.get(unit, 0) for widths in before) for unit in max(before, key=len)}


def _kept_shares(records: Sequence[Record], full_widths: Mapping[str, int]) -> Shares:
    """Return label -> unit -> kept share, as a mean over the records of the label.

    A unit that a network of the label does not have is left out.
    """
    shares: Shares = {}
    for label in dict.fromkeys(record.cell.label for record in records):
        seeds = [record.widths for record in records if record.cell.label == label]
        shares[label] = {
            unit: fmean(widths[unit] / full for widths in seeds)
            for unit, full in full_widths.items()
            if full > 0 and all(unit in widths for widths in seeds)
        }
    return shares


def format_unit(unit: str) -> str:
    """Return the name of a unit for people."""
    return unit.replace("compactors.", "skip ").replace("expanders.", "skip ")


def _draw_panel(axes: "Axes", panel: PatternPanel) -> None:
    """Draw a heat map.

    It is that of seaborn, which draws the whole figure anew for every panel to see whether the
    names of its units overlap.
    """
    import numpy as np

    data = np.array(
        [[shares.get(unit, np.nan) for unit in panel.units] for shares in panel.shares.values()]
    )
    rows, columns = data.shape
    axes.set_facecolor(MISSING_COLOUR)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(data),
        vmin=0,
        vmax=1,
        cmap="viridis",
        linewidths=0.5,
        edgecolor="white",
    )
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    bar = axes.figure.colorbar(mesh, ax=axes, label="kept", shrink=0.8, pad=0.01)
    bar.outline.set_linewidth(0)
    axes.set(xticks=np.arange(columns) + 0.5, yticks=np.arange(rows) + 0.5)
    axes.set_xticklabels([format_unit(unit) for unit in panel.units])
    axes.set_yticklabels(list(panel.shares), rotation="vertical", va="center")
    axes.tick_params(length=0)


def _turn_overlapping_names(axes: "Axes") -> None:
    """Turn the names of units upright, and those of rows level, if they overlap."""
    from seaborn.utils import axis_ticklabels_overlap

    for names, rotation in (
        (axes.get_xticklabels(), "vertical"),
        (axes.get_yticklabels(), "horizontal"),
    ):
        if axis_ticklabels_overlap(names):
            for name in names:
                name.set(rotation=rotation)

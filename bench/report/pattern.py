"""The pruning pattern: which share of its channels each unit keeps, for each row, at each ratio.

One panel for each section of `frame` and each ratio; units from left to right in the order of
execution, the skips' compactors among them; rows from top to bottom in the order of the study. Over
several seeds the mean. Grey: a unit that the row's network does not have.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ConfigError
from bench.records import UNPRUNED, Record
from bench.report.frame import asked, section
from bench.report.style import drawn
from bench.report.table import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_A_UNIT, INCHES_A_ROW = 0.3, 0.24
INCHES_OF_LABELS, INCHES_OF_TITLES = 3.2, 1.7
LEAST_UNITS = 12  # as wide as that many, however few there are
MISSING_COLOUR = "0.85"
Shares = dict[str, dict[str, float]]  # label -> unit -> kept share


class Panel(NamedTuple):
    """One panel: its title and ratio, the units in the order of execution, and what each row keeps of them."""

    title: str
    ratio: float
    units: list[str]
    shares: Shares


def draw(records: Sequence[Record], path: Path | str) -> Path:
    """Writes the pattern; the ending of `path` chooses the format (png, svg, pdf).

    Returns the path.

    Raises:
        ConfigError: no record has the widths of a pruned network, so there is nothing to draw.
    """
    found = panels(records)
    if not found:
        raise ConfigError(
            "there is no finished record of a pruned network, so there is no pattern to draw; run the study first"
        )
    heights = [INCHES_OF_TITLES + INCHES_A_ROW * len(panel.shares) for panel in found]
    width = INCHES_OF_LABELS + INCHES_A_UNIT * max(
        LEAST_UNITS, *(len(panel.units) for panel in found)
    )
    with drawn(Path(path), (width, sum(heights)), look={"axes.grid": False}) as figure:
        places = figure.subplots(
            len(found), 1, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        for axes, panel in zip(places, found, strict=True):
            _panel(axes, panel)
    return Path(path)


def panels(records: Sequence[Record]) -> list[Panel]:
    """What is drawn, in the order of the table."""
    known = [
        (asked(record.cell), record)
        for record in records
        if record.status == "done" and record.widths
    ]
    order = {section(row): place for place, (row, _) in reversed(list(enumerate(known)))}
    known.sort(key=lambda pair: (order[section(pair[0])], -pair[0]["ratio"]))
    result = []
    for _, group in groupby(known, key=lambda pair: section(pair[0])):
        members = list(group)
        full = _full(record for _, record in members)
        pruned = [(row, record) for row, record in members if row["method"] != UNPRUNED]
        for ratio, block in groupby(pruned, key=lambda pair: pair[0]["ratio"]):
            shares = _shares([record for _, record in block], full)
            result.append(
                Panel(
                    f"{title(members[0][0])}, ratio {ratio:g}: share of the channels that is kept",
                    ratio,
                    list(full),
                    shares,
                )
            )
    return result


def _full(records: Iterable[Record]) -> dict[str, int]:
    """Unit -> channels before pruning, in the order of execution of the network with the most units."""
    before = [record.trace[0]["widths"] if record.trace else record.widths for record in records]
    return {unit: max(widths.get(unit, 0) for widths in before) for unit in max(before, key=len)}


def _shares(records: Sequence[Record], full: Mapping[str, int]) -> Shares:
    """Label -> unit -> share, mean over its records; without the units that its networks do not have."""
    shares: Shares = {}
    for label in dict.fromkeys(record.cell.label for record in records):
        seeds = [record.widths for record in records if record.cell.label == label]
        present = {
            unit: whole
            for unit, whole in full.items()
            if whole > 0 and all(unit in widths for widths in seeds)
        }
        shares[label] = {
            unit: fmean(widths[unit] / whole for widths in seeds) for unit, whole in present.items()
        }
    return shares


def shown(unit: str) -> str:
    """A unit's name for people."""
    return unit.replace("compactors.", "skip ").replace("expanders.", "skip ")


def _panel(axes: "Axes", panel: Panel) -> None:
    """A heat map."""
    import numpy as np
    import seaborn

    data = np.array(
        [[shares.get(unit, np.nan) for unit in panel.units] for shares in panel.shares.values()]
    )
    names = [shown(unit) for unit in panel.units]
    look = {
        "vmin": 0,
        "vmax": 1,
        "cmap": "viridis",
        "linewidths": 0.5,
        "cbar_kws": {"label": "kept", "shrink": 0.8, "pad": 0.01},
    }
    axes.set_facecolor(MISSING_COLOUR)
    seaborn.heatmap(
        data,
        mask=np.isnan(data),
        ax=axes,
        xticklabels=names,
        yticklabels=list(panel.shares),
        **look,
    )
    axes.set_title(panel.title, loc="left")
    axes.tick_params(length=0)

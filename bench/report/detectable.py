"""The smallest difference that a study can show, before it runs.

A difference between a row and the reference row is called better or worse if it is larger than the
half width h of its interval at the level 0.05 / N, for N comparisons: the first step of Holm's
correction, so never too small. Studies without true differences are drawn with the standard
deviations of `bench.report.components`, all rows alike,

    y[r, s, i] = row x scene[r, i] + row x seed[r, s] + rest[r, s, i]

(what is common to all rows cancels), and tested by the code of the verdicts. With e the error of a
difference, a true difference of D is found if D + e > h, so 80 % are found at the 80 % quantile of
h - e. `results/simulations/verdicts.md` checks this in whole studies.

Below three seeds or ten scenes nothing is tested. Then it is said how far two equal rows differ by
chance in 95 % of cases: 1.96 times the standard deviation of their difference,

    sqrt(2 (row_seed^2 / S + row_scene^2 / I + rest^2 / (S I)))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from bench.contract import find_scene
from bench.plugins.options import build_task
from bench.records import Cell, Record
from bench.report.captions import section_title
from bench.report.components import Components, find_components
from bench.report.frame import cell_fields, cell_section_key, group_by, merge_rows
from bench.report.statistics import CONFIDENCE, Values, estimate_mean, fit_prior, is_enough

POWER = 0.8
STUDIES = 500  # that are drawn; all their comparisons count
NORMAL_QUANTILE = 1.96
MAX_NAMES = 100  # photographs of a larger test set are not read for the names of their scenes
# Standard deviations in dB of the rows of table1_embedded at 0.5, without raw global L2 (U-Net of
# width 24, three levels, three seeds, 17 photographs); at 0.75 they are 0.39, 0.24 and 0.45, at
# 0.25 several times as much, because rows lose colours there. What cancels between rows is 0.
SOURCE = "scatter of rows as in study table1_embedded"
DEFAULT = Components(scene=0.0, seed=0.0, seed_scene=0.0, row_scene=0.38, row_seed=0.21, rest=0.45)


@dataclass(frozen=True)
class TableForecast:
    """What a table of a study will be able to show.

    Args:
        title: of the section.
        seeds, scenes: numbers.
        comparisons: of all rows and ratios with one row, corrected together.
        differences_db: ratio -> the difference that is found with 80 % power; where nothing is
            tested, the one that chance alone stays below in 95 % of cases.
        measured_ratios: whose scatter was measured in an earlier run; the others have DEFAULT.
    """

    title: str
    seeds: int
    scenes: int
    comparisons: int
    differences_db: Mapping[float, float]
    measured_ratios: Sequence[float]


def forecast_differences(cells: Sequence[Cell], records: Sequence[Record]) -> list[TableForecast]:
    """Return what each table of a study will be able to show.

    Args:
        cells: of the study.
        records: of an earlier run, if there are any; they say how much rows scatter.
    """
    pruned = [cell for cell in cells if cell.ratio < 1 and not cell.run_options]
    return [_forecast(section, records) for section in group_by(pruned, cell_section_key)]


def _forecast(cells: Sequence[Cell], records: Sequence[Record]) -> TableForecast:
    """Return what the table of one section will be able to show."""
    key = cell_section_key(cells[0])
    own = [record for record in records if cell_section_key(record.cell) == key]
    measured = find_components(merge_rows(own), own) if own else {}
    seeds, scenes = len({cell.seed for cell in cells}), count_scenes(cells[0])
    rows = {
        block[0].ratio: len({cell.label for cell in block})
        for block in group_by(cells, lambda cell: cell.ratio)
    }
    comparisons = sum(rows.values()) - len(rows)
    differences = {}
    for ratio, count in sorted(rows.items(), reverse=True):
        components = measured.get(ratio, DEFAULT)
        if is_enough(seeds, scenes) and count > 1:
            difference = find_detectable(components, (count, seeds, scenes), comparisons)
        else:
            difference = chance_difference(components, seeds, scenes)
        differences[ratio] = difference
    title = section_title(cell_fields(cells[0]))
    return TableForecast(title, seeds, scenes, comparisons, differences, sorted(measured))


def count_scenes(cell: Cell) -> int:
    """Return the number of test scenes; in a large test set, that of its photographs."""
    test_sets = build_task(cell).test_sets(cell.data)
    if sum(map(len, test_sets.values())) > MAX_NAMES:
        return sum(map(len, test_sets.values()))
    return len({(name, find_scene(pair.name)) for name in test_sets for pair in test_sets[name]})


def draw_study(
    random: np.random.Generator, components: Components, shape: tuple[int, int, int]
) -> Values:
    """Draw the PSNR (rows, seeds, scenes) of equal rows, without what is common to all rows."""
    rows, seeds, scenes = shape
    values = components.rest * random.standard_normal(shape)
    values += components.row_seed * random.standard_normal((rows, seeds, 1))
    return values + components.row_scene * random.standard_normal((rows, 1, scenes))


@cache
def find_detectable(components: Components, shape: tuple[int, int, int], comparisons: int) -> float:
    """Return the difference in dB that is found with 80 % power.

    Args:
        components: how much rows scatter.
        shape: rows of a ratio, seeds, scenes.
        comparisons: that are corrected together.
    """
    random = np.random.default_rng(0)
    margins = []
    for _ in range(STUDIES):
        values = draw_study(random, components, shape)
        estimate = estimate_mean(values[1:] - values[0], fit_prior(values))
        margins.append(estimate.half_width((1 - CONFIDENCE) / comparisons) - estimate.mean)
    return float(np.quantile(np.concatenate(margins), POWER))


def chance_difference(components: Components, seeds: int, scenes: int) -> float:
    """Return the difference in dB that two equal rows stay below in 95 % of cases."""
    variance = components.row_seed**2 / seeds + components.row_scene**2 / scenes
    variance += components.rest**2 / (seeds * scenes)
    return float(NORMAL_QUANTILE * (2 * variance) ** 0.5)


def describe_forecast(forecast: TableForecast) -> str:
    """Describe in one line what a table will be able to show."""
    photographs = f"{forecast.scenes} photograph{'s' * (forecast.scenes != 1)}"
    seeds = f"{forecast.seeds} seed{'s' * (forecast.seeds != 1)}"
    values = [f"{value:.2g}" for value in forecast.differences_db.values()]
    ratios = [f"{ratio:g}" for ratio in forecast.differences_db]
    is_one = len(set(values)) == 1
    size = values[0] if is_one else " / ".join(values)
    size += " dB" if is_one else f" dB (at {' / '.join(ratios)})"
    scatter = "scatter of rows as in this folder" if forecast.measured_ratios else SOURCE
    if forecast.comparisons and is_enough(forecast.seeds, forecast.scenes):
        return (
            f"{forecast.title}: with {photographs} and {seeds}, a difference of {size} between two "
            f"rows is found with {100 * POWER:.0f} % power (Holm over {forecast.comparisons} "
            f"comparisons; {scatter})"
        )
    return (
        f"{forecast.title}: with {photographs} and {seeds}, no verdict is possible; two equally "
        f"good rows differ by up to {size} by chance, in 95 % of cases ({scatter})"
    )

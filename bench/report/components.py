"""How much of the scatter of PSNR comes from where: the components of its variance at a ratio.

    y[r, s, i] = row[r] + seed[s] + scene[i] + seed x scene + row x seed + row x scene + rest

The rows are the methods at hand, all other effects are random. Components come from the mean
squares of this three-way table with one value for each triple (moment estimates; Searle, Casella &
McCulloch 1992, chapter 4); a negative one is set to 0. Seeds, photographs and seed x photograph
are common to all rows, so they cancel when rows are compared by seed and photograph; what is left
is row x seed, row x photograph and the rest.
"""

from collections.abc import Sequence
from itertools import combinations
from math import prod
from typing import NamedTuple

from bench.records import Record
from bench.report.frame import Row
from bench.report.scores import find_groups
from bench.report.statistics import MIN_SEEDS, Values

ROWS, SEEDS, SCENES = 0, 1, 2
MIN_SIZE = 3  # of rows and photographs, as of seeds; with fewer, components are mostly chance


class Components(NamedTuple):
    """Standard deviations in dB."""

    scene: float
    seed: float
    seed_scene: float
    row_scene: float
    row_seed: float
    rest: float


def estimate_components(values: Values) -> Components:
    """Estimate the standard deviations from the PSNR (rows, seeds, scenes), two of each or more."""
    rows, seeds, scenes = values.shape
    squares = {
        axes: _mean_square(values, axes)
        for count in (1, 2, 3)
        for axes in combinations((ROWS, SEEDS, SCENES), count)
    }
    rest = squares[ROWS, SEEDS, SCENES]
    row_seed, row_scene = squares[ROWS, SEEDS], squares[ROWS, SCENES]
    seed_scene = squares[SEEDS, SCENES]
    variances = (
        (squares[SCENES,] - row_scene - seed_scene + rest) / (rows * seeds),
        (squares[SEEDS,] - row_seed - seed_scene + rest) / (rows * scenes),
        (seed_scene - rest) / rows,
        (row_scene - rest) / seeds,
        (row_seed - rest) / scenes,
        rest,
    )
    return Components(*(max(0.0, variance) ** 0.5 for variance in variances))


def _mean_square(values: Values, axes: tuple[int, ...]) -> float:
    """Return the mean square of a main effect or an interaction of axes."""
    effect = values
    for axis in range(values.ndim):
        mean = effect.mean(axis, keepdims=True)
        effect = effect - mean if axis in axes else mean
    copies = prod(values.shape) / effect.size
    freedom = prod(values.shape[axis] - 1 for axis in axes)
    return float(copies * (effect**2).sum() / freedom)


def find_components(rows: Sequence[Row], records: Sequence[Record]) -> dict[float, Components]:
    """Return ratio -> components, where there are enough rows, seeds and photographs for them.

    Args:
        rows: of one section. Where a ratio has rows of several recipes, the first ones count.
        records: with the scores of the rows.
    """
    found: dict[float, Components] = {}
    for group, values in find_groups([dict(row) for row in rows], records):
        if min(values.shape) >= max(MIN_SIZE, MIN_SEEDS):
            found.setdefault(group[0]["ratio"], estimate_components(values))
    return found


def describe_components(rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """Return a sentence, without full stop, on the components of a section; none without them."""
    found = find_components(rows, records)
    if not found:
        return []
    parts = {
        name: ", ".join(f"{getattr(components, name):.2f}" for components in found.values())
        for name in Components._fields
    }
    return [
        f"Standard deviations in dB at {', '.join(f'{ratio:g}' for ratio in found)}: photographs "
        f"{parts['scene']}; seeds {parts['seed']}; seed x photograph {parts['seed_scene']} (these "
        "three cancel between rows that are paired by seed and photograph); row x photograph "
        f"{parts['row_scene']}; row x seed {parts['row_seed']}; rest {parts['rest']}"
    ]

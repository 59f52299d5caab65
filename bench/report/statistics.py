"""Intervals and tests of means: the adapter of the reports to scipy.

Over seeds, Student's interval of the mean: t(n - 1) s / sqrt(n), with the sample standard deviation
s. Over photographs and seeds together, the bootstrap: photographs and then seeds are drawn with
replacement, 4,000 times, from a fixed seed. Wilcoxon's signed-rank test over photographs tests
whether a mean differs from zero; below ten photographs there is no test, because there are too few
signs.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

CONFIDENCE = 0.95
MIN_PHOTOGRAPHS = 10  # for a test
DRAWS = 4000
Differences = np.ndarray  # (seeds, photographs), dB


def count_same_order(ours: Sequence[float], theirs: Sequence[float]) -> tuple[int, int]:
    """Count the pairs of items that have the same order in both sequences, and all pairs.

    A pair that is tied in either sequence has no order and is not counted.
    """
    signs = [
        (a - b) * (c - d) for (a, c), (b, d) in combinations(zip(ours, theirs, strict=True), 2)
    ]
    return sum(sign > 0 for sign in signs), sum(sign != 0 for sign in signs)


def interval_half_width(deviation: float, count: int) -> float:
    """Return half of the 95 % interval of a mean.

    Args:
        deviation: sample standard deviation of the values.
        count: number of values, at least two.
    """
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, count - 1) * deviation / count**0.5)


def bootstrap_interval(differences: Differences) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean over photographs and seeds."""
    seeds, photographs = differences.shape
    random = np.random.default_rng(0)
    seed_draws = random.integers(seeds, size=(DRAWS, seeds, 1))
    photograph_draws = random.integers(photographs, size=(DRAWS, 1, photographs))
    means = [
        differences[seed_indices, photograph_indices].mean()
        for seed_indices, photograph_indices in zip(seed_draws, photograph_draws, strict=True)
    ]
    low, high = np.quantile(means, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


def wilcoxon_p_value(differences: Differences) -> float | None:
    """Return the p value of Wilcoxon's test on the photographs' means over seeds.

    It is None below ten photographs, and 1 if all means are zero.
    """
    from scipy.stats import wilcoxon

    means = differences.mean(0)
    if len(means) < MIN_PHOTOGRAPHS:
        return None
    return float(wilcoxon(means).pvalue) if means.any() else 1.0


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm 1979).

    The k-th smallest of m values is multiplied by m - k + 1, is at least as large as the corrected
    value before it, and at most 1.
    """
    corrected = [0.0] * len(p_values)
    previous = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        adjusted = min(1.0, (len(p_values) - rank) * p_values[index])
        previous = corrected[index] = max(previous, adjusted)
    return corrected

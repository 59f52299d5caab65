"""What is known of a mean: the reports' door to scipy.

Over seeds, Student's interval of the mean: t(n - 1) s / sqrt(n), with the sample standard deviation
s. Over photographs and seeds together, the bootstrap: photographs are drawn with replacement, then
seeds, 4,000 times, from a fixed seed. Whether a mean differs from zero is tested by Wilcoxon's
signed ranks over photographs; below ten of them there is no test: too few signs to be sure of
anything.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

CONFIDENCE = 0.95
LEAST_PHOTOGRAPHS = 10
DRAWS = 4000
Differences = np.ndarray  # (seeds, photographs), dB


def same_order(ours: Sequence[float], theirs: Sequence[float]) -> tuple[int, int]:
    """How many pairs of items stand in the same order in both, and of how many; a tie in either has no order and does not count."""
    signs = [
        (a - b) * (c - d) for (a, c), (b, d) in combinations(zip(ours, theirs, strict=True), 2)
    ]
    return sum(sign > 0 for sign in signs), sum(sign != 0 for sign in signs)


def half_width(deviation: float, count: int) -> float:
    """Half of the 95 % interval of the mean of `count` values, two or more, with that sample standard deviation."""
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, count - 1) * deviation / count**0.5)


def interval(differences: Differences) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean, photographs and seeds drawn with replacement."""
    seeds, photographs = differences.shape
    random = np.random.default_rng(0)
    drawn_seeds = random.integers(seeds, size=(DRAWS, seeds, 1))
    drawn_photographs = random.integers(photographs, size=(DRAWS, 1, photographs))
    means = [
        differences[one, other].mean()
        for one, other in zip(drawn_seeds, drawn_photographs, strict=True)
    ]
    low, high = np.quantile(means, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


def p_value(differences: Differences) -> float | None:
    """Wilcoxon's, of the photographs' means over seeds; None below ten photographs.

    Equal everywhere is 1.
    """
    from scipy.stats import wilcoxon

    each = differences.mean(0)
    if len(each) < LEAST_PHOTOGRAPHS:
        return None
    return float(wilcoxon(each).pvalue) if each.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected for their number (Holm 1979): the k-th smallest of m times m - k + 1, never below one before it, at most 1."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = corrected[place] = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
    return corrected

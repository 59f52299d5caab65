"""Intervals and tests of means and of orders: the adapter of the reports to scipy.

The functions of scipy.special are those that scipy.stats calls; the latter takes a second to load.

Over seeds alone, the mean has Student's interval, t(n - 1) s / sqrt(n), with the sample standard
deviation s. Over seeds and scenes together, differences d[s, i] of seed s and scene i are two-way
crossed with random effects, one value for each pair (Cornfield & Tukey 1956):

    d[s, i] = mean + seed[s] + scene[i] + rest[s, i]
    V = max(MS_seed, MS_scene, MS_seed + MS_scene - MS_rest),   SE = sqrt(V / (S I))

with mean squares MS, S seeds and I scenes, as in Clark's quasi-F (1973). The mean divided by SE is
held against Student's t with f degrees of freedom:

    1 / f = w^a(S - 1) / (S - 1) + (1 - w)^a(I - 1) / (I - 1),   w = MS_seed / V

Satterthwaite (1946) squares both shares, a = 2. Of three seeds the share is known too badly for
that: his f rejects in up to 8 % of cases instead of 5 %. With a(n) = 2 n / (n + 2), which is 1 for
n = 2 and close to 2 for many, at most 6 % are rejected, whatever the three variances. The exponent
was chosen by simulation (`results/simulations/verdicts.md`).

Corrected for many comparisons, three seeds alone find almost nothing: at a level of 0.05 / 57,
Student's t with 2 degrees of freedom asks for 34 standard errors. What a comparison lacks, the
other rows of its ratio have: they say how large MS_seed commonly is, and how much that varies from
pair to pair. Smyth (2004, "limma") fits a scaled inverse chi-square distribution to the MS_seed of
all pairs, a prior with n0 degrees of freedom and the square s0, and moderates

    MS_seed* = (n0 s0 + (S - 1) MS_seed) / (n0 + S - 1),   with n0 + S - 1 degrees of freedom

The fit of n0 is known badly itself: it is at most (R - 2)(S - 1) for R rows, as many as they have,
and half of it is used. If rows differ much in their noise, little is borrowed. A comparison that is
noisier than nine in ten of that distribution borrows less, n0 times 10 P(F > MS_seed / s0), and
MS_seed is never lowered, so a row that trains less stably than the others is judged by its own
noise (compare Phipson et al. 2016, "robust limma"). These rules, too, were chosen by simulation.

The agreement of two orders is Kendall's tau. Its interval holds all tau from which the observed one
is less than 1.96 standard deviations away, by Esscher's variance for normal samples (1924) with
r = sin(pi tau / 2):

    var = 2 / (n (n - 1)) (1 - tau^2 + 2 (n - 2) (1/9 - (2/pi asin(r / 2))^2))

At tau = 0 this is the variance by chance, 2 (2 n + 5) / (9 n (n - 1)).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MIN_SEEDS = 3  # for an interval or a test
MIN_SCENES = 10  # below, skewed differences are called significant in over 10 % of cases
MIN_ROWS = 4  # that say something of the noise of others
CAUTION = 0.5  # share of the fitted degrees of freedom that is used
OUTLIER = 10  # one comparison in so many is less stable than the others, and borrows less
MIN_ROOT = 1e-3  # below every root of the trigamma function that logs of squares lead to
MIN_ITEMS = 5  # for an interval of tau; with four it may cover 86 % only
NO_VARIANCE = 1e-24  # dB^2: rows that differ by a constant, up to rounding
Values = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean, its standard error and the degrees of freedom of that."""

    mean: Values
    error: Values
    freedom: Values

    @property
    def p_value(self) -> Values:
        """The p value of the hypothesis that the mean is zero."""
        from scipy.special import stdtr

        return np.asarray(2 * stdtr(self.freedom, -abs(self.mean) / self.error))

    def half_width(self, level: float = 1 - CONFIDENCE) -> Values:
        """Return half of the interval that misses the mean in a share `level` of cases."""
        from scipy.special import stdtrit

        return np.asarray(stdtrit(self.freedom, 1 - level / 2) * self.error)

    @property
    def low(self) -> Values:
        """The lower end of the 95 % interval."""
        return self.mean - self.half_width()

    @property
    def high(self) -> Values:
        """The upper end of the 95 % interval."""
        return self.mean + self.half_width()


class Prior(NamedTuple):
    """What other comparisons say of the noise of training: a mean square and its certainty.

    Args:
        square: MS_seed of a comparison that is like the others, dB^2.
        freedom: degrees of freedom that it is worth; 0 for nothing.
    """

    square: float
    freedom: float


NO_PRIOR = Prior(0.0, 0.0)


class Agreement(NamedTuple):
    """Kendall's tau of two orders.

    Args:
        tau: 1 for the same order, -1 for the opposite one (tau-b, which allows for ties).
        interval: 95 %; None for fewer than five items.
        p_value: of an order by chance, exact without ties.
    """

    tau: float
    interval: tuple[float, float] | None
    p_value: float


def interval_half_width(deviation: float, count: int) -> float:
    """Return half of the 95 % interval of a mean over seeds.

    Args:
        deviation: sample standard deviation of the values.
        count: number of values, at least two.
    """
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2) * deviation / count**0.5)


def half_width_over_seeds(deviation: float | None, seeds: int) -> float | None:
    """Return `interval_half_width`; None if there are too few seeds for an interval."""
    if deviation is None or seeds < MIN_SEEDS:
        return None
    return interval_half_width(deviation, seeds)


def is_enough(seeds: int, scenes: int) -> bool:
    """Return whether so many seeds and scenes allow intervals over both, tests and ranks."""
    return seeds >= MIN_SEEDS and scenes >= MIN_SCENES


def estimate_mean(differences: Values, prior: Prior = NO_PRIOR) -> Estimate:
    """Estimate the mean over seeds and scenes; the formulas are in the header.

    Args:
        differences: (..., seeds, scenes), at least two of each, dB; each leading index is a
            comparison of its own.
        prior: from `fit_prior`, of the same seeds and scenes.
    """
    seeds, scenes = differences.shape[-2:]
    mean = differences.mean((-2, -1))
    of_seeds, of_scenes = differences.mean(-1), differences.mean(-2)
    rest = differences - of_seeds[..., :, None] - of_scenes[..., None, :] + mean[..., None, None]
    own_square = scenes * of_seeds.var(-1, ddof=1)
    borrowed = _borrow_freedom(own_square, prior, seeds - 1)
    seed_freedom = seeds - 1 + borrowed
    moderated = (borrowed * prior.square + (seeds - 1) * own_square) / seed_freedom
    seed_square = np.maximum(own_square, moderated)
    scene_square = seeds * of_scenes.var(-1, ddof=1)
    rest_square = (rest**2).sum((-2, -1)) / ((seeds - 1) * (scenes - 1))
    variance = np.maximum(seed_square, scene_square)
    variance = np.maximum(variance, seed_square + scene_square - rest_square)
    variance = np.maximum(variance, NO_VARIANCE)
    share = seed_square / variance
    freedom = 1 / (_divide_share(share, seed_freedom) + _divide_share(1 - share, scenes - 1))
    return Estimate(mean, np.sqrt(variance / (seeds * scenes)), freedom)


def _borrow_freedom(own_square: Values, prior: Prior, own_freedom: int) -> Values:
    """Return the degrees of freedom that each comparison borrows from the others."""
    from scipy.special import fdtrc

    if not prior.freedom:
        return np.zeros_like(own_square)
    tail = fdtrc(own_freedom, prior.freedom, own_square / prior.square)
    return np.asarray(prior.freedom * np.minimum(1, OUTLIER * tail))


def fit_prior(values: Values) -> Prior:
    """Fit the prior of the comparisons of rows, by the moments of log MS_seed of all pairs.

    Args:
        values: (rows, seeds, scenes), dB. Fewer than four rows say nothing.
    """
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    rows, seeds, scenes = values.shape
    first, second = np.triu_indices(rows, 1)
    of_seeds = values.mean(-1)
    squares = scenes * (of_seeds[first] - of_seeds[second]).var(-1, ddof=1)
    squares = squares[squares > NO_VARIANCE]
    if rows < MIN_ROWS or len(squares) < MIN_ROWS:
        return NO_PRIOR
    half = (seeds - 1) / 2
    logs = np.log(squares) - digamma(half) + np.log(half)
    spread = logs.var(ddof=1) - polygamma(1, half)
    fitted = float((rows - 2) * (seeds - 1))
    if spread > polygamma(1, fitted / 2):
        fitted = 2 * brentq(lambda value: polygamma(1, value) - spread, MIN_ROOT, fitted / 2)
    shift = digamma(fitted / 2) - np.log(fitted / 2)
    return Prior(float(np.exp(logs.mean() + shift)), float(CAUTION * fitted))


def _divide_share(share: Values, freedom: Values | float) -> Values:
    """Return the part of 1 / f that a share of the variance has, by its degrees of freedom."""
    return np.asarray(share ** (2 * freedom / (freedom + 2)) / freedom)


def tau_deviation(tau: Values | float, items: int) -> Values:
    """Return the standard deviation of Kendall's tau in normal samples; at 0, that by chance."""
    angle = 2 / np.pi * np.arcsin(np.sin(np.pi / 2 * np.asarray(tau)) / 2)
    spread = 1 - np.square(tau) + 2 * (items - 2) * (1 / 9 - angle**2)
    return np.sqrt(np.maximum(0, 2 * spread / (items * (items - 1))))


def tau_interval(tau: float, items: int) -> tuple[float, float]:
    """Return the 95 % interval of Kendall's tau, to three decimals."""
    from scipy.special import ndtri

    candidates = np.linspace(-1, 1, 2001)
    reach = ndtri(0.5 + CONFIDENCE / 2) * tau_deviation(candidates, items)
    inside = candidates[abs(candidates - tau) <= reach]
    return round(float(inside.min()), 3), round(float(inside.max()), 3)


def spread_apart(values: Sequence[float], gap: float) -> list[float]:
    """Return the numbers nearest to `values` that keep their order and are `gap` apart.

    They stay within [0, 1] if there is room; nearest by the sum of squares. Places labels.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(values, kind="stable")
    offsets = gap * np.arange(len(values))
    room = max(0.0, 1 - gap * (len(values) - 1))
    placed = np.empty(len(values))
    placed[order] = np.clip(isotonic_regression(np.take(values, order) - offsets).x, 0, room)
    placed[order] += offsets
    return [float(value) for value in placed]


def compare_orders(ours: Sequence[float], theirs: Sequence[float]) -> Agreement | None:
    """Compare the order of items in two sequences; None if all are tied in one of them."""
    if len(set(ours)) < 2 or len(set(theirs)) < 2:
        return None
    from scipy.stats import kendalltau

    tau, p_value = (round(float(value), 12) for value in kendalltau(ours, theirs))
    interval = tau_interval(tau, len(ours)) if len(ours) >= MIN_ITEMS else None
    return Agreement(tau, interval, p_value)


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

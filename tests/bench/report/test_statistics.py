"""Statistics against cases that can be computed by hand, and in small simulations."""

from collections.abc import Sequence

import numpy
import pytest
from scipy.stats import ttest_1samp

from bench.report.statistics import (
    NO_PRIOR,
    Prior,
    Values,
    compare_orders,
    correct_holm,
    estimate_mean,
    fit_prior,
    interval_half_width,
    tau_deviation,
    tau_interval,
)
from results.simulations.verdicts import (
    BLOCKS,
    DESIGNS,
    Design,
    Noise,
    bootstrap_coverage,
    false_positives,
    p_of_satterthwaite,
    p_of_wilcoxon,
    seed_coverage,
    tau_coverage,
)


def test_holms_correction_by_hand() -> None:
    # The example of Wikipedia, "Holm-Bonferroni method": at 0.05 the first and the last are
    # rejected, the others not.
    corrected = correct_holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_holm([0.9, 0.8]) == [1.0, 1.0] and correct_holm([]) == []


def test_the_interval_over_seeds_is_students_from_the_printed_table() -> None:
    assert interval_half_width(1.0, 3) == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert interval_half_width(0.2, 10) == pytest.approx(2.262 * 0.2 / 10**0.5, rel=1e-3)


def test_three_seeds_and_three_scenes_by_hand() -> None:
    differences = 1 + numpy.array([[-1], [0], [1]]) + numpy.array([-2.0, 0, 2])
    estimate = estimate_mean(numpy.stack([differences, differences + 4]))
    error = (15 / 9) ** 0.5  # mean squares 3, 12 and 0; two degrees of freedom
    assert estimate.mean == pytest.approx([1, 5])
    assert (estimate.high - estimate.mean) / error == pytest.approx([4.303] * 2, rel=1e-3)
    assert (estimate.mean - estimate.low) / error == pytest.approx([4.303] * 2, rel=1e-3)
    t = numpy.array([1, 5]) / error
    assert estimate.p_value == pytest.approx(1 - t / (2 + t**2) ** 0.5)


@pytest.mark.parametrize("axis", [0, 1])
def test_without_noise_of_one_kind_it_is_students_test_of_the_other(axis: int) -> None:
    values = numpy.random.default_rng(0).normal(0.3, 1, 12)
    shape = (4, 12) if axis else (12, 4)
    estimate = estimate_mean(numpy.broadcast_to(values if axis else values[:, None], shape))
    student = ttest_1samp(values, 0)
    assert estimate.p_value == pytest.approx(student.pvalue)
    interval = student.confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))


def test_rows_that_differ_by_a_constant_are_certain() -> None:
    assert estimate_mean(numpy.zeros((3, 12))).p_value == 1
    certain = estimate_mean(numpy.full((3, 12), 0.3))
    assert certain.p_value < 1e-9
    assert (certain.low, certain.high) == pytest.approx((0.3, 0.3))


def draw_training(deviations: Sequence[float], seed: int = 0) -> Values:
    """Draw the PSNR (rows, 3 seeds, 17 scenes) of rows that scatter over seeds."""
    random = numpy.random.default_rng(seed)
    training = numpy.array(deviations)[:, None, None] * random.normal(size=(len(deviations), 3, 1))
    return training + 0.01 * random.normal(size=(len(deviations), 3, 17))


def test_rows_that_scatter_alike_lend_their_degrees_of_freedom() -> None:
    prior = fit_prior(draw_training([0.2] * 60))
    assert prior.freedom > 15
    assert prior.square == pytest.approx(17 * 2 * 0.2**2, rel=0.3)
    unlike = fit_prior(draw_training(numpy.geomspace(0.01, 10, 60)))
    assert unlike.freedom < 3
    assert fit_prior(draw_training([0.2] * 3)) == fit_prior(numpy.zeros((9, 3, 17))) == NO_PRIOR


def test_calm_comparisons_are_raised_to_the_others_and_unstable_ones_judged_by_themselves() -> None:
    prior = Prior(square=1.0, freedom=20.0)
    pattern = numpy.array([-1.0, 0.0, 1.0])[:, None] + numpy.zeros(17)
    differences = numpy.stack([0.01 * pattern, 5 * pattern])
    calm, unstable = estimate_mean(differences, prior), estimate_mean(differences)
    assert calm.error[0] == pytest.approx((20 / 22 / 51) ** 0.5, rel=1e-2)
    assert calm.freedom[0] == pytest.approx(22, rel=1e-2)
    assert calm.error[1] == unstable.error[1]
    assert calm.freedom[1] == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize("rest", [0.05, 0.10])
def test_one_verdict_in_twenty_is_wrong_without_a_difference(design: Design, rest: float) -> None:
    count = 4_000 if design.photographs > 1 else 20_000
    assert 3.5 <= false_positives(design, Noise(rest=rest), count=count) <= 6.5


def test_the_same_simulation_finds_rules_that_ignore_training_or_scenes() -> None:
    assert false_positives(BLOCKS, Noise(), p_of_wilcoxon, 500) > 80
    assert false_positives(Design(1, 40), Noise(), p_of_wilcoxon, 500) > 50
    assert false_positives(Design(3, 40), Noise(), p_of_satterthwaite) > 6.5
    assert bootstrap_coverage(3, 500) < 80


def test_intervals_over_seeds_cover_normal_values_only() -> None:
    assert [round(seed_coverage(count, "normal")) for count in (2, 3, 5)] == [95, 95, 95]
    assert seed_coverage(3, "one in five") < 60


def test_kendalls_tau_by_hand() -> None:
    agreement = compare_orders(range(10), [1, 0, 3, 2, 5, 4, 9, 8, 7, 6])
    assert agreement is not None
    assert agreement.tau == pytest.approx((36 - 9) / 45)
    assert agreement.interval == tau_interval(0.6, 10)
    exact = compare_orders([1, 2, 3], [1, 2, 3])
    assert exact == (1.0, None, pytest.approx(2 / 6))  # two of six orders are as extreme
    assert compare_orders([1, 1, 1], [1, 2, 3]) is None


@pytest.mark.parametrize("items", [9, 10])
def test_the_interval_of_tau_covers_what_it_says(items: int) -> None:
    by_chance = (2 * (2 * items + 5) / (9 * items * (items - 1))) ** 0.5
    assert tau_deviation(0, items) == pytest.approx(by_chance)
    low, high = tau_interval(0, items)
    assert -low == high == pytest.approx(1.96 * tau_deviation(high, items), abs=2e-3)
    assert tau_interval(1, items)[1] == 1
    assert all(93 <= tau_coverage(tau, items, count=5_000) <= 98 for tau in (0, 0.4, 0.8, 0.9))


@pytest.mark.parametrize("seed", range(10))
def test_the_variance_is_never_below_that_of_seeds_or_scenes_alone(seed: int) -> None:
    differences = numpy.random.default_rng(seed).normal(size=(3, 17))
    variance = estimate_mean(differences).error ** 2 * differences.size
    seed_square = 17 * differences.mean(1).var(ddof=1)
    scene_square = 3 * differences.mean(0).var(ddof=1)
    assert variance >= max(seed_square, scene_square) * (1 - 1e-12)

"""Numeric differentiation on losses whose slope is known (check (d))."""

import math

import pytest

from bench.errors import PluginError
from methods.mosp.allocation import cheapest_cut
from methods.mosp.sensitivity import sample_counts, sensitivities

TRUE_SLOPES = {"a": 3e-6, "b": 5e-4, "c": 1e-5}


def _linear_loss(unit: str, count: int) -> float:
    return 0.1 + TRUE_SLOPES[unit] * count


def test_a_linear_loss_gives_its_slopes_back() -> None:
    assert sensitivities(_linear_loss, 0.1, {"a": 8, "b": 1, "c": 4}) == pytest.approx(
        TRUE_SLOPES, rel=1e-6
    )


def test_the_unit_with_the_least_loss_per_byte_is_cut() -> None:
    per_channel = {"a": 4, "b": 64, "c": 16}  # loss per byte: 7.5e-7, 7.8e-6, 6.3e-7
    limits = {"a": 16, "b": 1, "c": 4}
    found = sensitivities(_linear_loss, 0.1, limits)
    assert cheapest_cut(found, per_channel, limits, 64) == {"c": 4}


def test_a_loss_that_falls_costs_a_little_and_not_less_than_nothing() -> None:
    slopes = {"a": -1e-5, "b": 2e-5, "c": 3e-5}
    found = sensitivities(lambda unit, count: slopes[unit] * count, 0.0, {"a": 4, "b": 4, "c": 4})
    assert 0 < found["a"] == pytest.approx(2e-8)


@pytest.mark.parametrize("loss_now", [0.1, math.nan])
def test_a_loss_that_is_not_finite_is_refused_by_the_name_of_the_unit(loss_now: float) -> None:
    with pytest.raises(PluginError, match=r"mosp: .*'a'; both must be finite"):
        sensitivities(lambda unit, count: math.inf, loss_now, {"a": 4})


def test_the_fit_is_least_squares_through_the_origin() -> None:
    rises = {1: 1.0, 2: 5.0, 4: 8.0}
    found = sensitivities(lambda unit, count: rises[count], 0.0, {"a": 4})
    assert found["a"] == pytest.approx((1 + 10 + 32) / (1 + 4 + 16))


@pytest.mark.parametrize(
    ("limit", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 3]), (8, [2, 4, 8]), (64, [16, 32, 64])]
)
def test_a_unit_is_measured_at_a_quarter_a_half_and_all_of_its_limit(
    limit: int, counts: list[int]
) -> None:
    assert sample_counts(limit, 3) == counts

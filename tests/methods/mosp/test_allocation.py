"""The integer program against a search of all cuts (check (c)), and the pitfalls of scale."""

import random
from itertools import product

import pytest

from methods.mosp.allocation import cheapest_cut

SENSITIVITY = {"a": 3e-4, "b": 1e-4, "c": 5e-6, "d": 2e-5}
PER_CHANNEL = {"a": 64, "b": 64, "c": 4, "d": 16}
LIMITS = {"a": 2, "b": 1, "c": 6, "d": 3}


def _cost(cut: dict[str, int], sensitivity: dict[str, float]) -> float:
    return sum(sensitivity[unit] * count for unit, count in cut.items())


def _freed(cut: dict[str, int], per_channel: dict[str, int]) -> int:
    return sum(per_channel[unit] * count for unit, count in cut.items())


def _brute_force(
    sensitivity: dict[str, float], per_channel: dict[str, int], limits: dict[str, int], need: int
) -> float:
    cuts = (
        dict(zip(limits, counts, strict=True))
        for counts in product(*(range(limit + 1) for limit in limits.values()))
    )
    return min(_cost(cut, sensitivity) for cut in cuts if _freed(cut, per_channel) >= need)


@pytest.mark.parametrize("seed", range(40))
def test_the_cut_costs_as_little_as_the_best_of_all_cuts(seed: int) -> None:
    rng = random.Random(seed)
    units = "abcd"[: rng.randint(1, 4)]
    sensitivity = {unit: 10 ** rng.uniform(-9, -3) for unit in units}
    per_channel = {unit: 4 ** rng.randint(0, 4) for unit in units}
    limits = {unit: rng.randint(1, 6) for unit in units}
    need = rng.randint(1, _freed(limits, per_channel))
    cut = cheapest_cut(sensitivity, per_channel, limits, need)
    assert _freed(cut, per_channel) >= need
    assert all(0 < count <= limits[unit] for unit, count in cut.items())
    assert _cost(cut, sensitivity) == pytest.approx(
        _brute_force(sensitivity, per_channel, limits, need), rel=1e-4
    )


def test_tiny_sensitivities_do_not_empty_a_layer() -> None:
    assert cheapest_cut(
        {"cheap": 1e-9, "dear": 3.4e-5}, {"cheap": 1, "dear": 1}, {"cheap": 16, "dear": 16}, 1
    ) == {"cheap": 1}


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e6])
def test_the_scale_of_the_sensitivities_changes_nothing(factor: float) -> None:
    rescaled = {unit: value * factor for unit, value in SENSITIVITY.items()}
    for need in (1, 16, 64, 100, 150):
        assert cheapest_cut(rescaled, PER_CHANNEL, LIMITS, need) == cheapest_cut(
            SENSITIVITY, PER_CHANNEL, LIMITS, need
        )


@pytest.mark.parametrize("need", [1, 5, 17, 64, 65, 100, 191])
def test_the_cut_never_exceeds_the_need_by_a_channel(need: int) -> None:
    cut = cheapest_cut(SENSITIVITY, PER_CHANNEL, LIMITS, need)
    assert _freed(cut, PER_CHANNEL) - need < min(PER_CHANNEL[unit] for unit in cut)


def test_limits_that_allow_too_little_are_exhausted() -> None:
    assert cheapest_cut(SENSITIVITY, PER_CHANNEL, LIMITS, 10_000) == LIMITS


def test_of_equal_costs_the_unit_with_more_bytes_goes_first_then_the_earlier() -> None:
    assert cheapest_cut(
        {"a": 1, "b": 1, "c": 1}, {"a": 4, "b": 8, "c": 8}, {"a": 1, "b": 1, "c": 1}, 4
    ) == {"b": 1}


def test_where_sensitivity_is_proportional_to_memory_any_exact_cut_is_optimal() -> None:
    sensitivity = {unit: 1e-7 * each for unit, each in PER_CHANNEL.items()}
    cut = cheapest_cut(sensitivity, PER_CHANNEL, LIMITS, 80)
    assert _freed(cut, PER_CHANNEL) == 80


def test_a_need_just_above_what_a_cut_frees_does_not_buy_the_dearest_unit() -> None:
    channel = 1024 * 2048 * 4
    per_channel = {"dear": channel, "a": channel, "b": channel // 4, "c": channel // 16}
    sensitivity = {"dear": 2e-3, "a": 1e-4, "b": 1e-4, "c": 5e-5}
    limits = {"dear": 2, "a": 6, "b": 4, "c": 4}
    cut = cheapest_cut(sensitivity, per_channel, limits, 6 * channel + 1)
    assert cut == {"a": 6, "c": 1}

"""Bisection against trying every member of the family."""

from types import SimpleNamespace

import pytest

from bench.contract import Budget
from bench.errors import Infeasible
from bench.memory.peak_model import peak_model
from bench.surgery.analysis import analyse_network
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import (
    count_positions,
    find_largest_position,
    scale_widths,
    uniform_widths,
)
from tests.networks.small import SHAPE, unet


def _family(position: int) -> dict[str, int]:
    return {
        unit: max(1, full * (position + 1) // 8)
        for unit, full in peak_model(unet(8), SHAPE).widths.items()
    }


def test_bisection_finds_what_trying_all_finds() -> None:
    model = peak_model(unet(8), SHAPE)
    peaks = [model.peak_bytes(_family(position)) for position in range(8)]
    for limit in (peaks[0], peaks[3] - 1, peaks[3], peaks[7]):
        best = max(position for position, peak in enumerate(peaks) if peak <= limit)
        assert find_largest_position(_family, 8, model, Budget(limit, SHAPE)) == best


def test_a_unit_with_few_channels_does_not_keep_the_others_wide() -> None:
    network = unet(8)
    narrow = remove_channels(network, {"encoder.0.c11": [0, 1]}, SHAPE)
    budget = Budget(peak_model(network, SHAPE).peak_bytes({}) * 3 // 8, SHAPE)
    widths = uniform_widths(analyse_network(narrow, budget), budget, 1)
    assert widths["encoder.0.c11"] == 1
    assert 1 < widths["encoder.0.c12"] < 4


def test_a_narrow_unit_away_from_the_peak_does_not_make_the_steps_coarse() -> None:
    network = unet(8)
    narrow = remove_channels(network, {"encoder.2.c31": [0, 1]}, SHAPE)
    assert count_positions(analyse_network(narrow, Budget(1, SHAPE))) == 8
    budget = Budget(peak_model(network, SHAPE).peak_bytes({}) * 3 // 8, SHAPE)
    widths = uniform_widths(analyse_network(narrow, budget), budget, 1)
    assert (widths["encoder.0.c12"], widths["encoder.2.c31"]) == (3, 1)


def test_a_family_whose_least_member_does_not_fit_names_the_least_peak() -> None:
    with pytest.raises(Infeasible, match="the least is"):
        find_largest_position(_family, 8, peak_model(unet(8), SHAPE), Budget(100, SHAPE))


def test_a_share_of_the_channels_is_rounded_down() -> None:
    analysis = SimpleNamespace(widths={"odd": 7, "narrow": 1})
    assert scale_widths(analysis, 1, 1, parts=2) == {"odd": 3, "narrow": 1}

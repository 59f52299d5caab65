"""The difference that a study can show, before it runs."""

from dataclasses import replace

import pytest

from bench.report.components import Components
from bench.report.detectable import (
    DEFAULT,
    chance_difference,
    describe_forecast,
    find_detectable,
    forecast_differences,
)
from results.simulations.ranks import simulate_power
from tests.bench.report.synthetic import cell, scored_record


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.detectable.count_scenes", lambda cell: 17)
    monkeypatch.setattr("bench.report.detectable.STUDIES", 60)
    find_detectable.cache_clear()


def cells(seeds: int) -> list:
    labels = ("mosp", "uniform, sliced", "dhp", "assl")
    ratios = (0.75, 0.5)
    return [
        cell(label, ratio, seed) for label in labels for ratio in ratios for seed in range(seeds)
    ]


def test_the_forecast_difference_is_found_in_four_of_five_cases() -> None:
    assert 72 <= simulate_power(DEFAULT, 3, 60)[1] <= 88


def test_more_seeds_show_smaller_differences_and_more_comparisons_only_larger_ones() -> None:
    assert find_detectable(DEFAULT, (10, 5, 17), 9) < find_detectable(DEFAULT, (10, 3, 17), 9)
    assert find_detectable(DEFAULT, (10, 3, 17), 9) < find_detectable(DEFAULT, (10, 3, 17), 99)


def test_with_three_seeds_the_difference_is_stated_with_its_corrections() -> None:
    (forecast,) = forecast_differences(cells(3), [])
    assert (forecast.seeds, forecast.scenes, forecast.comparisons) == (3, 17, 6)
    text = describe_forecast(forecast)
    assert "with 17 photographs and 3 seeds, a difference of " in text
    assert "is found with 80 % power (Holm over 6 comparisons; scatter of rows as in study" in text


def test_with_one_seed_no_verdict_is_promised() -> None:
    (forecast,) = forecast_differences(cells(1), [])
    text = describe_forecast(forecast)
    assert "17 photographs and 1 seed, no verdict is possible; two equally good rows" in text
    only_seeds = Components(9, 9, 9, 0, 0.5, 0)
    assert chance_difference(only_seeds, 1, 17) == pytest.approx(1.96 * 2**0.5 * 0.5)


def test_records_of_an_earlier_run_say_how_much_rows_scatter() -> None:
    calm = [
        scored_record(one.label, [0.01 * one.seed] * 12, one.seed, one.ratio) for one in cells(3)
    ]
    wild = [
        replace(one, scores=scored_record("", [9.0 * (one.cell.label == "dhp") * s] * 12).scores)
        for one in calm
        for s in [one.cell.seed]
    ]
    of_calm, of_wild = (
        forecast_differences(cells(3), records)[0].differences_db for records in (calm, wild)
    )
    assert of_calm[0.5] < 0.01 and of_wild[0.5] > 5

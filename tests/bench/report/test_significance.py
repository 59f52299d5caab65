"""Statistics against cases that can be computed by hand."""

import json
from dataclasses import replace

import numpy
import pytest

from bench.contract import Recipe
from bench.errors import ConfigError
from bench.records import Record
from bench.report.significance import render_versus
from bench.report.statistics import half_width, holm, interval, p_value, same_order
from tests.bench.report.synthetic import cell, record


def scored(label: str, gains: list[float], seed: int = 0, ratio: float = 0.5) -> Record:
    """A record whose photographs have 30, 31, ... dB plus a gain each."""
    photos = {
        f"photo{index}": {"psnr_db": 30.0 + index + gain, "ssim": 0.9}
        for index, gain in enumerate(gains)
    }
    return record(cell(label, ratio, seed), scores={"set": photos})


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_interval_over_seeds_is_students_from_the_printed_table() -> None:
    assert half_width(1.0, 3) == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert half_width(0.2, 10) == pytest.approx(2.262 * 0.2 / 10**0.5, rel=1e-3)


def test_pairs_in_one_order_are_counted_without_ties() -> None:
    assert same_order([1, 2, 3], [10, 30, 20]) == (2, 3)
    assert same_order([1, 1, 2], [5, 6, 7]) == (2, 2) and same_order([1], [1]) == (0, 0)


def test_ten_gains_of_one_sign_have_a_chance_of_two_in_1024() -> None:
    gains = numpy.arange(1, 11) / 10
    assert p_value(gains[None]) == pytest.approx(2 / 1024)
    assert p_value(numpy.stack([gains + 1, gains - 1])) == pytest.approx(
        2 / 1024
    )  # the mean over seeds counts
    assert p_value(gains[None, :9]) is None
    assert p_value(numpy.zeros((1, 12))) == 1.0


def test_the_bootstrap_draws_photographs_and_seeds_from_a_fixed_seed() -> None:
    assert interval(numpy.full((3, 5), 0.7)) == pytest.approx((0.7, 0.7))
    assert interval(numpy.array([[0.0, 1.0]])) == (
        0.0,
        1.0,
    )  # the means 0, 0.5, 1 have chances of 1/4, 1/2, 1/4
    assert interval(numpy.array([[0.0], [1.0]])) == (0.0, 1.0)
    spread = numpy.random.default_rng(1).normal(0.5, 1, (1, 400))
    low, high = interval(spread)
    assert (low, high) == interval(spread)
    assert (high - low) / 2 == pytest.approx(1.96 * spread.std() / 20, rel=0.1)


def test_rows_are_paired_by_photograph_and_seed_and_corrected_together() -> None:
    gains = [0.1 * place for place in range(1, 11)]
    records = [
        scored(label, values, seed)
        for seed in (0, 1)
        for label, values in (("mosp", [0.0] * 10), ("one", gains), ("two", gains))
    ]
    mosp, one, two = json.loads(render_versus("mosp", records, "json"))
    assert mosp["difference_db"] is None
    assert one["difference_db"] == pytest.approx(0.55)
    assert (one["photographs"], one["paired_seeds"]) == (10, 2)
    assert one["p_value"] == two["p_value"] == pytest.approx(2 * 2 / 1024)
    assert "better" in render_versus("mosp", records) and "worse" in render_versus("one", records)


def test_below_ten_photographs_the_interval_stands_and_the_test_does_not() -> None:
    text = render_versus("mosp", [scored("mosp", [0.0] * 3), scored("one", [0.2, 0.3, 0.4])])
    assert "too few images for a test" in text and "+0.20 to +0.40" in text


def test_only_what_both_rows_have_is_compared() -> None:
    records = [
        scored("mosp", [0.0] * 12),
        scored("mosp", [0.0] * 12, seed=1),
        scored("one", [0.3] * 12, seed=1),
    ]
    (_, one) = json.loads(render_versus("mosp", records, "json"))
    assert (one["paired_seeds"], one["difference_db"]) == (1, pytest.approx(0.3))


def test_without_the_reference_at_a_ratio_nothing_is_called_reference() -> None:
    text = render_versus(
        "mosp", [scored("mosp", [0.0] * 10, ratio=0.25), scored("one", [0.2] * 10, ratio=0.5)]
    )
    assert text.count("reference") == 1 and "not compared" in text


def test_rows_of_another_recipe_are_compared_among_themselves() -> None:
    other = [
        replace(each, cell=replace(each.cell, recipe=Recipe(batch=9)))
        for each in (scored("mosp", [5.0] * 10), scored("one", [5.5] * 10))
    ]
    table = json.loads(
        render_versus(
            "mosp", [scored("mosp", [0.0] * 10), scored("one", [0.2] * 10), *other], "json"
        )
    )
    assert sorted(round(row["difference_db"], 3) for row in table if row["label"] == "one") == [
        0.2,
        0.5,
    ]


def test_a_row_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown row 'mops'; did you mean 'mosp'"):
        render_versus("mops", [scored("mosp", [0.0])])

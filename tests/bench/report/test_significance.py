"""Statistics against cases that can be computed by hand."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy
import pytest

from bench.contract import Recipe
from bench.errors import ConfigError
from bench.records import Record
from bench.report.results import collect_results
from bench.report.significance import render_reference_comparison
from bench.report.statistics import (
    bootstrap_interval,
    correct_holm,
    count_same_order,
    interval_half_width,
    wilcoxon_p_value,
)
from tests.bench.report.synthetic import cell, record


def scored_record(label: str, gains: list[float], seed: int = 0, ratio: float = 0.5) -> Record:
    """Make a record whose photographs have 30, 31, ... dB, each plus a gain."""
    photos = {
        f"photo{index}": {"psnr_db": 30.0 + index + gain, "ssim": 0.9}
        for index, gain in enumerate(gains)
    }
    return record(cell(label, ratio, seed), scores={"set": photos})


def compare(reference: str, records: Sequence[Record], fmt: str = "md") -> str:
    return render_reference_comparison(collect_results(records), reference, fmt)


def test_holms_correction_by_hand() -> None:
    assert correct_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_holm([0.9, 0.8]) == [1.0, 1.0] and correct_holm([]) == []


def test_the_interval_over_seeds_is_students_from_the_printed_table() -> None:
    assert interval_half_width(1.0, 3) == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert interval_half_width(0.2, 10) == pytest.approx(2.262 * 0.2 / 10**0.5, rel=1e-3)


def test_pairs_in_one_order_are_counted_without_ties() -> None:
    assert count_same_order([1, 2, 3], [10, 30, 20]) == (2, 3)
    assert count_same_order([1, 1, 2], [5, 6, 7]) == (2, 2) and count_same_order([1], [1]) == (0, 0)


def test_ten_gains_of_one_sign_have_a_chance_of_two_in_1024() -> None:
    gains = numpy.arange(1, 11) / 10
    assert wilcoxon_p_value(gains[None]) == pytest.approx(2 / 1024)
    seeds = numpy.stack([gains + 1, gains - 1])  # whose mean counts
    assert wilcoxon_p_value(seeds) == pytest.approx(2 / 1024)
    assert wilcoxon_p_value(gains[None, :9]) is None
    assert wilcoxon_p_value(numpy.zeros((1, 12))) == 1.0


def test_the_bootstrap_draws_photographs_and_seeds_from_a_fixed_seed() -> None:
    assert bootstrap_interval(numpy.full((3, 5), 0.7)) == pytest.approx((0.7, 0.7))
    # The means 0, 0.5 and 1 have chances of 1/4, 1/2 and 1/4.
    assert bootstrap_interval(numpy.array([[0.0, 1.0]])) == (0.0, 1.0)
    assert bootstrap_interval(numpy.array([[0.0], [1.0]])) == (0.0, 1.0)
    spread = numpy.random.default_rng(1).normal(0.5, 1, (1, 400))
    low, high = bootstrap_interval(spread)
    assert (low, high) == bootstrap_interval(spread)
    assert (high - low) / 2 == pytest.approx(1.96 * spread.std() / 20, rel=0.1)


def test_rows_are_paired_by_photograph_and_seed_and_corrected_together() -> None:
    gains = [0.1 * step for step in range(1, 11)]
    records = [
        scored_record(label, values, seed)
        for seed in (0, 1)
        for label, values in (("mosp", [0.0] * 10), ("first", gains), ("second", gains))
    ]
    mosp, first, second = json.loads(compare("mosp", records, "json"))
    assert mosp["difference_db"] is None
    assert first["difference_db"] == pytest.approx(0.55)
    assert (first["photographs"], first["paired_seeds"]) == (10, 2)
    assert first["p_value"] == second["p_value"] == pytest.approx(2 * 2 / 1024)
    assert "better" in compare("mosp", records) and "worse" in compare("first", records)


def test_below_ten_photographs_the_interval_stands_and_the_test_does_not() -> None:
    records = [scored_record("mosp", [0.0] * 3), scored_record("uniform", [0.2, 0.3, 0.4])]
    text = compare("mosp", records)
    assert "too few photographs for a test" in text and "+0.20 to +0.40" in text


def test_only_what_both_rows_have_is_compared() -> None:
    records = [
        scored_record("mosp", [0.0] * 12),
        scored_record("mosp", [0.0] * 12, seed=1),
        scored_record("uniform", [0.3] * 12, seed=1),
    ]
    _, uniform = json.loads(compare("mosp", records, "json"))
    assert (uniform["paired_seeds"], uniform["difference_db"]) == (1, pytest.approx(0.3))


def test_without_the_reference_at_a_ratio_nothing_is_called_reference() -> None:
    records = [
        scored_record("mosp", [0.0] * 10, ratio=0.25),
        scored_record("uniform", [0.2] * 10, ratio=0.5),
    ]
    text = compare("mosp", records)
    assert text.count("reference") == 1 and "not compared" in text


def test_rows_of_another_recipe_are_compared_among_themselves() -> None:
    records = [scored_record("mosp", [0.0] * 10), scored_record("uniform", [0.2] * 10)]
    records += [
        replace(other, cell=replace(other.cell, recipe=Recipe(batch=9)))
        for other in (scored_record("mosp", [5.0] * 10), scored_record("uniform", [5.5] * 10))
    ]
    table = json.loads(compare("mosp", records, "json"))
    differences = [row["difference_db"] for row in table if row["label"] == "uniform"]
    assert sorted(round(difference, 3) for difference in differences) == [0.2, 0.5]


def test_a_row_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown row 'mops'; did you mean 'mosp'"):
        compare("mops", [scored_record("mosp", [0.0])])

"""The comparison of rows: what is paired, what is a scene, and what is tested."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy
import pytest

from bench.contract import Recipe
from bench.errors import ConfigError
from bench.records import Record
from bench.report.results import collect_results
from bench.report.significance import format_verdict, render_reference_comparison
from bench.report.statistics import estimate_mean
from tests.bench.report.synthetic import scored_record


def compare(reference: str, records: Sequence[Record], fmt: str = "md") -> str:
    return render_reference_comparison(collect_results(records), reference, fmt)


GAINS = [0.5 + step / 100 for step in range(10)]


def compare_gains(gains: Sequence[float], seeds: int, names: str = "photo{}") -> dict[str, Any]:
    """Return the row with these gains, compared with a row without any."""
    records = [
        scored_record(label, [gain * (label != "mosp") for gain in gains], seed, names=names)
        for seed in range(seeds)
        for label in ("mosp", "uniform")
    ]
    mosp, uniform = json.loads(compare("mosp", records, "json"))
    assert mosp["difference_db"] is None and mosp["p_value"] is None
    return uniform | {"verdict": format_verdict(uniform)}


def test_rows_are_paired_by_scene_and_seed_and_corrected_together() -> None:
    records = [
        scored_record(label, values, seed)
        for seed in range(3)
        for label, values in (("mosp", [0.0] * 10), ("first", GAINS), ("second", GAINS))
    ]
    _, first, second = json.loads(compare("mosp", records, "json"))
    estimate = estimate_mean(numpy.array([GAINS] * 3))
    assert first["difference_db"] == pytest.approx(0.545)
    assert first["interval_db"] == pytest.approx([estimate.low, estimate.high])
    assert (first["photographs"], first["scenes"], first["paired_seeds"]) == (10, 10, 3)
    assert first["p_value"] == second["p_value"] == pytest.approx(2 * estimate.p_value)
    assert "better" in compare("mosp", records) and "worse" in compare("first", records)


def test_all_ratios_of_a_table_are_corrected_together() -> None:
    records = [
        scored_record(label, gains, seed, ratio)
        for seed in range(3)
        for ratio in (0.5, 0.25)
        for label, gains in (("mosp", [0.0] * 10), ("first", GAINS))
    ]
    estimate = estimate_mean(numpy.array([GAINS] * 3))
    rows = [row for row in json.loads(compare("mosp", records, "json")) if row["p_value"]]
    assert [row["p_value"] for row in rows] == pytest.approx([2 * float(estimate.p_value)] * 2)


def test_a_row_that_cannot_be_told_apart_is_level() -> None:
    gains = [0.3 * (-1) ** step for step in range(12)]
    assert compare_gains(gains, 3)["verdict"] == "level"


@pytest.mark.parametrize(
    ("seeds", "scenes", "verdict"),
    [
        (1, 10, "one seed: not tested"),
        (2, 10, "two seeds: not tested"),
        (3, 9, "9 scenes: not tested"),
        (3, 1, "1 scene: not tested"),
        (3, 10, "better"),
    ],
)
def test_below_three_seeds_or_ten_scenes_there_is_only_the_mean(
    seeds: int, scenes: int, verdict: str
) -> None:
    row = compare_gains(GAINS[:scenes], seeds)
    assert row["difference_db"] > 0.4 and row["verdict"] == verdict
    assert (row["interval_db"] is None) == (row["p_value"] is None) == ("not tested" in verdict)


def test_from_three_seeds_on_the_difference_has_an_interval_over_seeds() -> None:
    records = [
        scored_record(label, [gain] * 2, seed)
        for seed, gains in enumerate([(0.0, 0.9), (0.0, 1.0), (0.0, 1.1)])
        for label, gain in zip(("mosp", "uniform"), gains, strict=True)
    ]
    _, row = json.loads(compare("mosp", records, "json"))
    assert row["difference_db_half95"] == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert row["interval_db"] is None  # of photographs there are too few
    assert "+1.00 ± 0.25" in compare("mosp", records)


def test_photographs_of_one_scene_are_one_value() -> None:
    row = compare_gains(GAINS, 3, names="scene/photo{}")
    assert (row["photographs"], row["scenes"], row["p_value"]) == (10, 1, None)
    unequal = [scored_record("mosp", [0.0] * 3), scored_record("uniform", [0.1, 0.3, 1.0])]
    names = ("walk/1", "walk/2", "sea")
    renamed = [
        replace(one, scores={"set": dict(zip(names, one.scores["set"].values(), strict=True))})
        for one in unequal
    ]
    _, uniform = json.loads(compare("mosp", renamed, "json"))
    assert uniform["difference_db"] == pytest.approx((0.2 + 1.0) / 2)


def test_scenes_of_two_test_sets_are_different() -> None:
    records = [
        replace(one, scores={"first": one.scores["set"], "second": one.scores["set"]})
        for one in (scored_record("mosp", [0.0] * 4), scored_record("uniform", [0.2] * 4))
    ]
    assert json.loads(compare("mosp", records, "json"))[1]["scenes"] == 8


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

"""Ranks: who is ranked, what an interval says, how often it is right, and how tables show it."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy
import pytest

from bench.records import Record
from bench.report.ranks import Rank, format_rank, rank_rows
from bench.report.results import collect_results
from bench.report.table import render_table
from results.simulations.ranks import ALIKE, SCATTERS, bootstrap_ranks, rank_coverage
from tests.bench.report.synthetic import cell, record, scored_record, unfinished_record


def make_study(seeds: int, scenes: int, **gains: float) -> list[Record]:
    """Make a study of rows whose gains scatter a little over seeds and photographs."""
    random = numpy.random.default_rng(0)
    return [
        scored_record(label, gain + random.normal(0, 0.02, scenes), seed)
        for label, gain in gains.items()
        for seed in range(seeds)
    ]


def ranks_of(records: Sequence[Record]) -> dict[str, str]:
    return {row["label"]: format_rank(row) for row in collect_results(records).rows}


def test_rows_that_are_apart_have_one_rank_and_level_rows_share_theirs() -> None:
    records = make_study(3, 12, low=0.0, level=1.0, mosp=1.0, high=2.0)
    ranks = ranks_of(records)
    assert (ranks["high"], ranks["low"]) == ("1 [1, 1]", "4 [4, 4]")
    assert {ranks["level"], ranks["mosp"]} == {"2 [2, 3]", "3 [2, 3]"}


def test_rows_that_are_exactly_equal_have_the_same_rank() -> None:
    values = numpy.random.default_rng(0).normal(30, 1, (1, 3, 12))
    assert rank_rows(numpy.concatenate([values, values, values + 1])) == [
        Rank(2, 2, 3),
        Rank(2, 2, 3),
        Rank(1, 1, 1),
    ]


@pytest.mark.parametrize(("seeds", "scenes"), [(2, 12), (3, 9), (1, 1)])
def test_below_three_seeds_or_ten_scenes_a_rank_has_no_interval(seeds: int, scenes: int) -> None:
    assert ranks_of(make_study(seeds, scenes, low=0.0, high=1.0)) == {"low": "2", "high": "1"}


def test_rows_without_all_seeds_and_photographs_have_no_rank_and_change_none() -> None:
    records = make_study(3, 12, mosp=0.0, high=1.0, short=9.0, failed=9.0)
    records = [one for one in records if (one.cell.label, one.cell.seed) != ("short", 2)]
    broken = unfinished_record(cell("failed", seed=2), "failed", "the loss is nan")
    records = [broken if one.cell == broken.cell else one for one in records]
    unpruned = record(cell("unpruned", 1.0))
    ranks = ranks_of([*records, unpruned])
    assert ranks == {
        "mosp": "2 [2, 2]",
        "high": "1 [1, 1]",
        "short": "-",
        "failed": "-",
        "unpruned": "-",
    }


def test_each_ratio_and_recipe_is_ranked_for_itself() -> None:
    records = make_study(3, 12, mosp=0.0, high=1.0)
    smaller = [replace(one, cell=replace(one.cell, ratio=0.25)) for one in records]
    rows = collect_results([*records, *smaller]).rows
    assert [(row["psnr_rank"], row["ranked_rows"]) for row in rows] == [(2, 2), (1, 2)] * 2


def test_every_format_has_the_rank() -> None:
    results = collect_results(make_study(3, 12, mosp=0.0, high=1.0))
    assert " 1 [1, 1] |" in render_table(results) and "& 1 [1, 1] &" in render_table(results, "tex")
    assert "in brackets its 95 % interval" in render_table(results)
    first = json.loads(render_table(results, "json"))[0]
    assert (first["psnr_rank"], first["psnr_rank_low"], first["psnr_rank_high"]) == (2, 2, 2)
    lines = list(csv.DictReader(io.StringIO(render_table(results, "csv"))))
    assert [line["psnr_rank"] for line in lines] == ["2", "1"]


def test_intervals_hold_all_true_ranks_of_equal_rows() -> None:
    for scatter in (SCATTERS[0], SCATTERS[2], SCATTERS[3]):
        assert rank_coverage(scatter, 0.0, 40)[0] >= 92
    assert rank_coverage(ALIKE, 0.1, 40)[0] >= 95


def test_resampled_ranks_of_nearly_equal_rows_miss_the_true_one() -> None:
    assert rank_coverage(ALIKE, 0.01, 20, bootstrap_ranks)[0] < 85

"""New rows beside stored ones: the same table as if all had been trained together."""

from dataclasses import replace
from typing import Any

import pytest

from bench.contract import Recipe
from bench.errors import ConfigError
from bench.report.against_reference import check_comparable, describe_fairness, join_reference
from bench.report.comparison import compare_with_reference
from bench.report.results import collect_results
from tests.bench.report.synthetic import cell, record, scored_record

SEEDS = (0, 1, 2)
GAINS = [0.1 * index for index in range(10)]


def scored(label: str, gain: float) -> list[Any]:
    return [scored_record(label, [gain + each * seed for each in GAINS], seed) for seed in SEEDS]


def unpruned(psnr_db: float = 31.0, **options: Any) -> list[Any]:
    cells = [cell("unpruned", 1.0, seed, method_options=options) for seed in SEEDS]
    return [record(each, means={"psnr_db": psnr_db}) for each in cells]


STORED = [*unpruned(), *scored("mosp", 0.5), *scored("uniform", -1.0)]
NEW = [*unpruned(), *scored("mine", 2.0)]


def test_the_joint_rows_are_those_of_one_run_of_all() -> None:
    together = collect_results([*STORED, *scored("mine", 2.0)])
    joined = join_reference(NEW, STORED)
    assert joined.rows == together.rows
    verdicts = [
        row["verdict"] for row in compare_with_reference("mine", joined.rows, joined.records)
    ]
    assert verdicts == [None, "worse", "worse", None]


def test_only_the_seeds_and_ratios_of_the_new_row_are_compared() -> None:
    elsewhere = [scored_record("mosp", GAINS, seed, ratio=0.25) for seed in SEEDS]
    new = [entry for entry in NEW if entry.cell.seed == 1]
    joined = join_reference(new, [*STORED, *elsewhere])
    assert {(row["ratio"], row["seeds"]) for row in joined.rows} == {(1.0, 1), (0.5, 1)}


def test_a_label_of_the_reference_is_marked_as_new() -> None:
    joined = join_reference(scored("mosp", 0.0), STORED)
    rows = [(row["label"], row["seeds"]) for row in joined.rows]
    assert rows == [("unpruned", 3), ("mosp", 3), ("mosp (new)", 3), ("uniform", 3)]


@pytest.mark.parametrize(("psnr_db", "says"), [(31.04, "equal within"), (31.06, "UNEQUAL by 0.06")])
def test_the_unpruned_networks_agree_within_the_stated_tolerance(psnr_db: float, says: str) -> None:
    trained_on = unpruned(40.0, finetune=True)  # another row of the same network
    lines = describe_fairness([*unpruned(psnr_db), *NEW[3:]], [*STORED, *trained_on], [])
    assert [says in line for line in lines[:3]] == [True] * 3


def test_what_was_not_checked_is_told() -> None:
    lines = describe_fairness(NEW[3:], scored("mosp", 0.0)[:2], [])
    assert lines[0].startswith("UNCHECKED: the unpruned network")
    assert lines[-1] == "Not in the reference: seeds 2"


def test_records_of_another_question_are_refused_by_what_differs() -> None:
    cells = [replace(entry.cell, recipe=Recipe(batch=7), data_fingerprint="x") for entry in NEW]
    check_comparable([entry.cell for entry in NEW], STORED)
    with pytest.raises(ConfigError, match="no value in common of recipe, data_fingerprint;"):
        check_comparable(cells, STORED)

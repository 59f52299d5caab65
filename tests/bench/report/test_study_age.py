"""What has changed since results were measured."""

from dataclasses import replace

import pytest

from bench.contract import Recipe
from bench.errors import ConfigError
from bench.report import study_age
from bench.report.results import collect_results
from bench.report.study_age import Age, compare_with_cells, find_age
from tests.bench.report.synthetic import study_cells, study_records

RECORDS = study_records()
ROWS = collect_results(RECORDS).rows
CELLS = study_cells()


def test_what_the_study_asks_today_has_no_age() -> None:
    assert compare_with_cells(ROWS, RECORDS, CELLS) == Age()
    assert compare_with_cells(ROWS, RECORDS, study_cells((0, 1))).sentences == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data_fingerprint": "other"}, "Older: today the study differs in data"),
        ({"recipe": Recipe(batch=3)}, "Older: today the study differs in recipe"),
        (
            {"backbone_options": {"width": 6}, "task_options": {"scale": 2}},
            "Older: today the study differs in network, options of the task "
            "(measured: unet width 8; today: unet width 6)",
        ),
    ],
)
def test_another_question_is_named(change: dict[str, object], says: str) -> None:
    cells = [replace(cell, **change) for cell in CELLS]
    assert compare_with_cells(ROWS, RECORDS, cells) == Age(older=says)


def test_results_of_a_folder_that_the_study_does_not_name_have_no_age() -> None:
    cells = [replace(cell, data="elsewhere", data_fingerprint="other") for cell in CELLS]
    assert compare_with_cells(ROWS, RECORDS, cells) == Age()


def test_rows_whose_method_has_another_source_are_named() -> None:
    cells = [replace(cell, method_source="new") if cell.label == "mosp" else cell for cell in CELLS]
    age = compare_with_cells(ROWS, RECORDS, cells)
    assert age.sentences == [
        "The source code of 1 rows has changed since (mosp): they would run again"
    ]
    assert compare_with_cells(ROWS, [], cells) == Age()


def test_a_study_of_the_user_has_no_age_and_missing_data_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_age("mine", ROWS, RECORDS) == Age()

    def refuse(name: str) -> None:
        raise ConfigError("no data")

    monkeypatch.setattr(study_age, "load_study", refuse)
    assert "its data are not on this machine" in find_age("table1", ROWS, RECORDS).older

"""Rows of several folders in one table, and stored rows that a study leaves out."""

from pathlib import Path

from bench.contract import Recipe
from bench.records import Cell
from bench.report.gather import describe_others, gather_results
from bench.study.store import Store
from tests.bench.report.synthetic import cell, record

OTHER_RECIPE = Recipe(pretrain_steps=6000, matched_steps=100)


def make_store(folder: Path, cells: list[Cell], *more: Cell) -> Store:
    """Make a store whose study has some cells, with records of more."""
    store = Store(folder)
    store.write_study(folder.name, cells)
    for each in (*cells, *more):
        store.write(record(each))
    return store


def labels(*stores: Store, with_others: bool = False) -> list[str]:
    return [row["label"] for row in gather_results(stores, with_others).rows]


def test_rows_of_two_folders_stand_in_one_table_and_what_both_have_counts_once(
    tmp_path: Path,
) -> None:
    first = make_store(tmp_path / "a", [cell("unpruned", 1.0), cell("mosp")])
    second = make_store(tmp_path / "b", [cell("unpruned", 1.0), cell("mine")])
    assert labels(first, second) == ["unpruned", "mosp", "mine"]


def test_one_label_for_two_questions_gets_the_name_of_the_second_folder(tmp_path: Path) -> None:
    first = make_store(tmp_path / "a", [cell("mosp"), cell("mosp", 0.25)])
    other = [cell("mosp", ratio, recipe=OTHER_RECIPE) for ratio in (0.5, 0.25)]
    second = make_store(tmp_path / "b", other)
    assert labels(first, second) == ["mosp", "mosp (b)", "mosp", "mosp (b)"]


def test_what_a_study_leaves_out_is_said_and_shown_on_request(tmp_path: Path) -> None:
    others = [cell("mine", ratio) for ratio in (0.5, 0.25)] + [cell("mosp", recipe=OTHER_RECIPE)]
    store = make_store(tmp_path / "a", [cell("mosp")], *others)
    assert describe_others(store) == (
        "2 stored rows are not in this study: 'mine', 'mosp'; "
        f"prunebench table {store.folder} --all shows them"
    )
    assert labels(store) == ["mosp"]
    shown = labels(store, with_others=True)
    assert sorted(shown) == ["mine", "mine", "mosp", "mosp (not in the study)"]


def test_many_rows_that_are_left_out_are_counted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a", [cell("mosp")], *(cell(f"row {i}") for i in range(7)))
    assert "7 stored rows are not in this study: 'row 0'," in describe_others(store)
    assert "and 2 more; " in describe_others(store)


def test_a_study_that_has_all_rows_leaves_none_out(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a", [cell("mosp")])
    assert (describe_others(store), labels(store, with_others=True)) == ("", ["mosp"])
    assert describe_others(Store(tmp_path / "nowhere")) == ""

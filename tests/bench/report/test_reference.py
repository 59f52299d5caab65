"""Stored studies: run folders, files of records, and tables whose records were not kept."""

import json
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.report.records_file import StoredRecords, write_records
from bench.report.reference import find_reference, list_studies, open_reference
from bench.report.results import collect_results, read_results
from tests.bench.report.stored import make_store
from tests.bench.report.synthetic import study_records


def write_table(folder: Path, *left_out: str) -> Path:
    """Write the table of the synthetic study without some of its fields."""
    rows = collect_results(study_records((0, 1, 2))).rows
    folder.mkdir()
    kept = [{name: row[name] for name in row if name not in left_out} for row in rows]
    (folder / "table.json").write_text(json.dumps(kept))
    return folder


def test_a_run_and_the_file_of_its_records_have_the_same_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path / "by-hand", seeds=(0, 1, 2))
    stored = StoredRecords(store.name(), store.command(), store.records())
    path = write_records(tmp_path / "any.parquet", stored)
    for found in (open_reference(path), open_reference(store.folder)):
        assert found.results.rows == read_results(store).rows
        assert (found.store.name(), found.commands) == ("by-hand", store.command())


def test_a_table_of_an_older_program_gets_the_ranks_that_its_records_would_give(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path / "run", seeds=(0, 1, 2))
    wanted = {(row["label"], row["ratio"]): row["psnr_rank"] for row in read_results(store).rows}
    folder = write_table(tmp_path / "old", "psnr_rank", "ranked_rows", "run_options", "unbooked")
    rows = open_reference(folder).results.rows
    assert {(row["label"], row["ratio"]): row["psnr_rank"] for row in rows} == wanted
    assert rows[0]["run_options"] is None


def test_the_commands_are_those_of_the_provenance(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "old")
    (folder / "provenance.md").write_text("# Old\n\n    make old\n    make it again\n\nmade it.")
    assert open_reference(folder).commands == "make old\nmake it again"


def test_studies_are_listed_by_name_and_other_folders_are_not(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_table(tmp_path / name)
    (tmp_path / "figures").mkdir()
    assert [path.name for path in list_studies(tmp_path)] == ["a", "b"]
    assert list_studies(tmp_path / "a") == [tmp_path / "a"]


def test_the_reference_of_a_study_is_found_by_its_name_or_given_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "reference").mkdir(parents=True)
    own = write_table(tmp_path / "results" / "reference" / "own")
    assert find_reference("reference", "own").resolve() == own
    assert find_reference(str(own), "own") == find_reference(str(own.parent), "own") == own
    assert find_reference("reference", "table1_embedded").is_dir()  # that of the repository


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no results of study 'own' in nowhere; give --against"):
        find_reference("nowhere", "own")
    (tmp_path / "table.json").write_text('[{"label": 3}]')
    with pytest.raises(ConfigError, match="cannot be read as the table of a study"):
        open_reference(tmp_path)

"""prunebench run --against: new rows alone are trained, and stand beside stored ones."""

from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest

from bench.cli.main import main
from bench.report.records_file import StoredRecords, read_records, write_records
from bench.study.store import Store
from tests.bench.cli.test_run import ADDED

RUN = ("run", "tiny.toml", "--no-mlflow", "-q", "--executor", "serial")
NEW = ("--add", "added.py", "--against")
UNPRUNED = "The unpruned network of seed 0 has"


@pytest.fixture(autouse=True)
def reference(tiny_study: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The records of the tiny study as a file, and a method that is not among them."""
    Path("added.py").write_text(ADDED)
    assert main([*RUN, "--out", "ours"]) == 0
    store = Store("ours")
    write_records(
        Path("ours.parquet"), StoredRecords(store.name(), store.command(), store.records())
    )
    capsys.readouterr()
    return Path("ours.parquet")


def test_the_new_row_is_trained_alone_and_compared_with_all_stored_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*RUN, *NEW, "ours.parquet"]) == 0
    printed = capsys.readouterr().out
    stored = Store("results/runs/tiny_against").records()
    assert [record.cell.label for record in stored] == ["unpruned", "added", "added"]
    assert "| narrow   |    0.75 |" in printed and "| added    |     0.5 |" in printed
    assert f"- {UNPRUNED} " in printed and "equal within 0.05 dB." in printed
    assert "- Device, threads and versions are those of the reference" in printed
    assert "- Method sources are those of the reference." in printed


def test_a_run_folder_is_a_reference_too_and_a_second_run_has_nothing_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main([*RUN, *NEW, "ours"])
    first = capsys.readouterr().out
    rmtree("results/runs/tiny_against/pretrained")
    assert main([*RUN, *NEW, "ours.parquet"]) == 0
    assert capsys.readouterr().out == first


def test_another_network_machine_and_source_are_told(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = read_records(reference)
    changed = [
        replace(
            record,
            cell=replace(record.cell, method_source="of yesterday"),
            means=record.means | {"psnr_db": record.means["psnr_db"] + 0.3},
            environment=record.environment | {"threads": 7},
        )
        for record in stored.records
    ]
    write_records(reference, stored._replace(records=changed))
    assert main([*RUN, *NEW, str(reference)]) == 0
    printed = capsys.readouterr().out
    assert "UNEQUAL by 0.30 dB, more than 0.05: the new row starts from another network" in printed
    assert "- UNEQUAL: threads 1 here, 7 in the reference." in printed
    assert "- The source code of 2 rows has changed since (unpruned, narrow)" in printed


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--against", "ours"], "--against compares a new row with stored ones, and there is none"),
        ([*NEW, "reference"], "there are no results of study 'tiny' in results/reference or"),
        (
            [*NEW, "ours", "--set", "recipe.batch=3", "--seeds", "4"],
            "no value in common of recipe, seed; run all rows of the study here",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    words: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RUN, *words]) == 2
    assert answer in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_table_without_records_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", "ours"])
    rmtree("ours/records")
    Path("ours/study.json").unlink()
    assert main([*RUN, *NEW, "ours"]) == 2
    assert "ours has no records, only a table" in capsys.readouterr().err

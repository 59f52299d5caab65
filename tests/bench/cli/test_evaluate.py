"""prunebench evaluate: stored networks on photographs that they have never seen."""

import shutil
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.study.store import Store


@pytest.fixture
def stored_run(tiny_study: Path) -> Path:
    """Run the tiny study."""
    main(["run", str(tiny_study), "--out", "here", "--no-mlflow", "--executor", "serial"])
    return Path("here")


@pytest.mark.usefixtures("stored_run")
def test_the_scores_of_a_run_on_other_photographs_are_a_table_and_a_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    assert main(["evaluate", "here", "--data", "elsewhere", "--out", "there"]) == 0
    printed = capsys.readouterr()
    assert "2 photographs of elsewhere: photos" in printed.out and "narrow" in printed.out
    assert printed.err.count(" dB, input ") == 3
    mine, other = Store("here").records(), Store("there").records()
    assert len(mine) == len(other) == 3
    assert not {record.key for record in mine} & {record.key for record in other}
    assert {record.cell.data for record in other} == {"elsewhere"}
    assert main(["table", "there"]) == 0


@pytest.mark.usefixtures("stored_run")
def test_the_photographs_of_the_run_give_its_own_scores() -> None:
    main(["evaluate", "here", "--data", "embedded", "--out", "again"])
    pairs = zip(Store("here").records(), Store("again").records(), strict=True)
    assert all(mine.scores == again.scores != {} for mine, again in pairs)


@pytest.mark.usefixtures("stored_run")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--data", "x"], "nowhere holds 0 records and no network; give the folder of"),
        (["here", "--data", "x", "--out", "here"], "here exists already; choose another folder"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_one_saved_network_is_scored_alone(
    stored_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = next(entry for entry in Store(stored_run).records() if entry.cell.ratio == 0.5)
    network = Store(stored_run).model_folder(record.key)
    capsys.readouterr()
    assert main(["evaluate", str(network), "--data", "elsewhere"]) == 0
    assert capsys.readouterr().err.count("\n") == 1
    shutil.copytree(network, "alone")
    assert main(["evaluate", "alone", "--data", "elsewhere"]) == 2
    assert "alone has no record, so its task is not known" in capsys.readouterr().err

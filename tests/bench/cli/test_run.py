"""prunebench run, in this process or in workers: a failed cell is a row and exit code 1."""

import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.study.store import Store

SERIAL = ("--executor", "serial")
NARROW_ONLY = ("--set", "methods=['narrow']")
NETWORK = """
from torch import nn
from bench.plugins.registry import backbone

@backbone("one_layer")
def build():
    return nn.Conv2d(3, 3, 1)
"""
FAULTY_STUDY = """
tasks = ["fake"]
backbones = [{backbone = "tiny", width = 8}]
methods = ["narrow", {method = "narrow", label = "bad", fault = "raises", fault_below = 0.6}]
ratios = [0.5, 0.75]
"""

ADDED = """
from dataclasses import dataclass
from bench.plugins.registry import method
from tests.fakes import Narrow

@method("added")
@dataclass(frozen=True)
class Added(Narrow):
    "One more row."
"""

KILLED = """
import os, signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from bench.contract import NO_TRAINER
from bench.plugins.registry import method
from tests.fakes import Narrow

@method("killed")
@dataclass(frozen=True)
class Killed(Narrow):
    "Its worker is killed in the middle of a training, `times` times."
    folder: str = ""
    times: int = 1
    train_steps: int = 3

    def prune(self, model, budget, trainer=NO_TRAINER):
        if budget.peak_bytes < 30000:
            trainer.fit = partial(trainer.fit, after_step=self.kill)
        return super().prune(model, budget, trainer)

    def kill(self, index, rate):
        tries = Path(self.folder)
        (tries / f"{os.getpid()}").touch()
        if index == 1 and len(list(tries.iterdir())) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def studies(tiny_study: Path, workplace: Path) -> None:
    """The tiny study, and one with a row that raises at the smaller ratio."""
    (workplace / "faulty.toml").write_text(FAULTY_STUDY)


def run(*words: str) -> int:
    return main(["run", "tiny.toml", "--no-mlflow", *words])


def run_faulty(*words: str) -> int:
    return main(["run", "faulty.toml", "--no-mlflow", *words])


def test_run_prints_the_table_and_a_second_run_has_nothing_to_do(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*SERIAL) == 0
    first = capsys.readouterr()
    assert "  narrow " in first.out
    assert "no difference is tested" in first.out
    assert "Page: results/runs/tiny/report.html" in first.out
    assert (workplace / "results/runs/tiny/report.html").is_file()
    assert run(*SERIAL) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "all 3 cells are stored" in second.err
    assert not (workplace / "results" / "mlflow.db").exists()


def test_wide_prints_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*SERIAL, "--wide") == 0
    assert "| narrow" in capsys.readouterr().out


def test_quiet_prints_no_progress_and_verbose_prints_phases(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*SERIAL, "-q", *NARROW_ONLY) == 0
    assert capsys.readouterr().err == ""
    assert run(*SERIAL, "-v") == 0
    assert "'unpruned', ratio 1, seed 0: evaluate" in capsys.readouterr().err


def test_a_dry_run_says_what_would_run_and_writes_nothing(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "tiny.toml", "--dry-run", "--seeds", "0,1"]) == 0
    assert "6 of 6 cells to run" in capsys.readouterr().out
    assert sorted(path.name for path in workplace.iterdir()) == ["faulty.toml", "tiny.toml"]


def test_an_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*SERIAL)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.runner.run.run_study", interrupt)
    assert main(["run", "tiny.toml", *SERIAL]) == 130
    error = capsys.readouterr().err
    assert "stored in results/runs/tiny: 3 records; repeat the command to continue" in error


def test_a_row_is_added_to_a_study_and_stored_rows_are_not_run_again(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*SERIAL)
    (workplace / "added.py").write_text(ADDED)
    capsys.readouterr()
    assert run(*SERIAL, "--add", "added.py", "--add", "NARROW:train_steps=2,label=trained") == 0
    printed = capsys.readouterr()
    assert "4 of 7 cells to run" in printed.err
    lines = [line.split()[0] for line in printed.out.splitlines() if line.startswith("  ")]
    assert set(lines) >= {"unpruned", "narrow", "added", "trained"}


def test_a_run_says_which_stored_rows_its_study_leaves_out_and_table_shows_them(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*SERIAL, "--add", "narrow:train_steps=2,label=trained")
    capsys.readouterr()
    assert run(*SERIAL) == 0
    command = "prunebench table results/runs/tiny --all"
    sentence = f"1 stored row is not in this study: 'trained'; {command} shows it"
    assert sentence in capsys.readouterr().out
    assert main(command.split()[1:]) == 0
    assert "  trained " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("added", "answer"),
    [
        ("narow", "unknown method 'narow'; did you mean 'narrow'?"),
        ("nowhere.py", "there is no Python file nowhere.py"),
        ("network.py", "network.py brings no method, so there is no row to add"),
        ("broken.py", "broken.py cannot be loaded: it raises ZeroDivisionError"),
        ("narrow:train_steps", "--add narrow:train_steps is not of the form METHOD:OPTION=VALUE"),
        ("narrow:wide=2", "unknown option of method narrow 'wide'"),
        ("narrow", "two rows are called 'narrow'; give one of them another label"),
    ],
)
def test_a_row_that_cannot_be_added_is_one_line(
    added: str, answer: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "broken.py").write_text("1 / 0")
    (workplace / "network.py").write_text(NETWORK)
    assert run("--add", added) == 2
    assert answer in capsys.readouterr().err.splitlines()[-1]
    assert not (workplace / "results").exists()


@pytest.mark.slow
def test_one_command_leads_from_an_empty_folder_to_a_row_of_smoke(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["new", "mine"]) == 0
    row = '{method = "global_l2", label = "global L2"}'
    changes = ["--set", f"methods=['unpruned', {row}]", "--set", "ratios=[0.5]"]
    assert main(["run", "smoke", "--add", "mine.py", "--no-mlflow", *SERIAL, *changes]) == 0
    printed = capsys.readouterr().out
    assert "  mine " in printed and "  global L2 " in printed
    assert "Page: results/runs/smoke/report.html" in printed


def test_a_run_with_failed_cells_ends_with_1_and_names_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_faulty(*SERIAL) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == (
        "prunebench: 1 of 4 cells failed: 'bad' ratio 0.5 seed 0 in search: "
        "ValueError: a bug in the method; run them again with --retry-failed"
    )
    assert "bad at 0.5 failed in search: ValueError: a bug in the method" in printed.out
    assert run_faulty(*SERIAL) == 1, "the row is still there"


def test_a_run_whose_failed_cells_succeed_the_second_time_ends_with_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("bench.runner.job.saved.save", None)
        assert run_faulty(*SERIAL, *NARROW_ONLY) == 1
    assert run_faulty(*SERIAL, *NARROW_ONLY) == 1
    assert run_faulty(*SERIAL, *NARROW_ONLY, "--retry-failed") == 0


def test_a_budget_that_no_network_fits_is_no_failure() -> None:
    assert run_faulty(*SERIAL, *NARROW_ONLY, "--set", "ratios=[0.1]") == 0


def test_a_time_limit_that_is_no_duration_is_a_mistake(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_faulty("--time-limit", "soon") == 2
    error = capsys.readouterr().err
    assert "duration 'soon' is not a number above 0 and one of s, m, h, d" in error
    assert sorted(path.name for path in workplace.iterdir()) == ["faulty.toml", "tiny.toml"]


def test_a_time_limit_that_is_too_short_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_faulty(*SERIAL, *NARROW_ONLY, "--time-limit", "0.001s") == 1
    pattern = (
        "2 of 2 cells failed: 'narrow' ratio 0.5 seed 0 in [a-z]+: "
        "it ran past the time limit of 0.001 s"
    )
    assert re.search(pattern, capsys.readouterr().err)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_a_training_loses_its_own_cell_alone(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "killed.py").write_text(KILLED)
    (workplace / "tries").mkdir()
    assert run_faulty(*SERIAL, *NARROW_ONLY) == 0
    methods = "['narrow', {method='killed', label='killed', times=2, folder='tries'}]"
    assert run_faulty("--plugin", "killed.py", "--workers", "2", "--set", f"methods={methods}") == 1
    records = Store(workplace / "results" / "runs" / "faulty").records()
    killed = [record for record in records if record.cell.label == "killed"]
    assert [(record.cell.ratio, record.status, record.phase) for record in killed] == [
        (0.5, "failed", "adapt"),
        (0.75, "done", ""),
    ]
    assert len(list((workplace / "tries").iterdir())) == 2
    message = (
        "1 of 4 cells failed: 'killed' ratio 0.5 seed 0 in adapt: "
        "the worker was killed by signal 9, perhaps"
    )
    assert message in capsys.readouterr().err

"""prunebench run, in this process or in workers: a failed cell is a row and exit code 1."""

import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.study.store import Store

SERIAL = ("--executor", "serial")
NARROW_ONLY = ("--set", "methods=['narrow']")
FAULTY_STUDY = """
tasks = ["fake"]
backbones = [{backbone = "tiny", width = 8}]
methods = ["narrow", {method = "narrow", label = "bad", fault = "raises", fault_below = 0.6}]
ratios = [0.5, 0.75]
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
    assert "| narrow" in first.out and "results/runs/tiny" in first.out
    assert run(*SERIAL) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "all 3 cells are stored" in second.err
    assert not (workplace / "results" / "mlflow.db").exists()


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


def test_a_run_with_failed_cells_ends_with_1_and_names_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_faulty(*SERIAL) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == (
        "prunebench: 1 of 4 cells failed: bad ratio 0.5 seed 0 in search: "
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
        "2 of 2 cells failed: narrow ratio 0.5 seed 0 in [a-z]+: "
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
        "1 of 4 cells failed: killed ratio 0.5 seed 0 in adapt: "
        "the worker was killed by signal 9, perhaps"
    )
    assert message in capsys.readouterr().err

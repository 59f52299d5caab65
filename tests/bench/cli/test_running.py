"""Runs by the command line, in this process or in workers: what fails is a row, and the exit code says so."""

import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.study.store import Store

STUDY = """
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
def study(workplace: Path) -> None:
    """The study of these tests."""
    (workplace / "tiny.toml").write_text(STUDY)


def run(*words: str) -> int:
    return main(["run", "tiny.toml", "--no-mlflow", *words])


def test_a_run_with_failed_cells_ends_with_1_and_names_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--executor", "serial") == 1
    printed = capsys.readouterr()
    expected = "prunebench: 1 of 4 cells failed: bad ratio 0.5 seed 0 in search: ValueError: a bug in the method; "
    assert printed.err.splitlines()[-1] == expected + "run them again with --retry-failed"
    assert "bad at 0.5 failed in search: ValueError: a bug in the method" in printed.out
    assert run("--executor", "serial") == 1, "the row is still there"


def test_a_run_whose_failed_cells_succeed_the_second_time_ends_with_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("bench.runner.job.saved.save", None)
        assert run("--executor", "serial", "--set", "methods=['narrow']") == 1
    assert run("--executor", "serial", "--set", "methods=['narrow']") == 1
    assert run("--executor", "serial", "--set", "methods=['narrow']", "--retry-failed") == 0


def test_what_no_network_can_be_is_no_failure() -> None:
    assert run("--executor", "serial", "--set", "methods=['narrow']", "--set", "ratios=[0.1]") == 0


def test_a_time_limit_that_is_none_is_a_mistake(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--time-limit", "soon") == 2
    assert (
        "duration 'soon' is not a number above 0 and one of s, m, h, d" in capsys.readouterr().err
    )
    assert [path.name for path in workplace.iterdir()] == ["tiny.toml"]


def test_a_time_limit_that_is_too_short_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--executor", "serial", "--set", "methods=['narrow']", "--time-limit", "0.001s") == 1
    assert re.search(
        "2 of 2 cells failed: narrow ratio 0.5 seed 0 in [a-z]+: it ran past the time limit of 0.001 s",
        capsys.readouterr().err,
    )
    words = ["prune", "narrow", "--backbone", "tiny", "--ratio", "0.5", "--time-limit", "0.001s"]
    assert main(words) == 2
    assert re.search(
        "failed in [a-z]+: it ran past the time limit of 0.001 s", capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_worker_that_is_killed_in_a_training_loses_its_own_cell_alone(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "killed.py").write_text(KILLED)
    (workplace / "tries").mkdir()
    assert run("--executor", "serial", "--set", "methods=['narrow']") == 0
    methods = "['narrow', {method='killed', label='killed', times=2, folder='tries'}]"
    assert run("--plugin", "killed.py", "--workers", "2", "--set", f"methods={methods}") == 1
    records = Store(workplace / "results" / "runs" / "tiny").records()
    assert [
        (one.cell.label, one.cell.ratio, one.status, one.phase)
        for one in records
        if one.cell.label == "killed"
    ] == [
        ("killed", 0.5, "failed", "adapt"),
        ("killed", 0.75, "done", ""),
    ]
    assert len(list((workplace / "tries").iterdir())) == 2
    assert (
        "1 of 4 cells failed: killed ratio 0.5 seed 0 in adapt: the worker was killed by signal 9, perhaps"
        in capsys.readouterr().err
    )

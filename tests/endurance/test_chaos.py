"""A study that is killed five times gives the results of an undisturbed run.

`tests.endurance.chaos` kills a study 100 times. Two simultaneous runs of a study share its work.
"""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.fakes  # noqa: F401  a process that is started here registers the fake task
from bench.files import atomic
from bench.runner.executors.serial import SerialExecutor
from bench.runner.progress import Progress
from bench.runner.run import run_study
from bench.study.store import Store
from bench.study.study import load_study
from bench.training.checkpoints import Checkpoint
from tests.endurance.chaos import read_results, record_identities

STUDY = """
tasks = ["fake"]
backbones = [{backbone = "small_unet", width = 4, levels = 3}]
methods = [
    "unpruned",
    {method = "random_search", samples = 4},
    {method = "us_net", samples = 2},
    "group_lasso",
    "mosp",
]
ratios = [0.6, 0.8]
[recipe]
pretrain_steps = 8
[options.group_lasso]
epochs = 3
"""
KILLS = 5


def run_with_kill(folder: Path, dies_at: int, events: Any) -> None:
    """Run the study in this process, and kill the process at one of its events.

    Events are the training steps, and the beginnings, synchronisations and ends of writes.

    Args:
        folder: folder of the run.
        dies_at: number of the event, from 1; 0 means never.
        events: shared counter of the events.
    """

    def with_event(function: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        """Return the function with an event before each call, or after it."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords) if after else None
            events.value += 1
            if events.value == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result if after else function(*arguments, **keywords)

        return call

    torch.optim.Adam.step = with_event(torch.optim.Adam.step)
    Checkpoint.due = lambda self, ended: self.path is not None  # after every step
    atomic.write = with_event(atomic.write)
    os.fsync = with_event(os.fsync)
    os.replace = with_event(os.replace, after=True)
    run_study(load_study(folder.parent / "study.toml"), Store(folder), SerialExecutor())


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., tuple[int | None, int]]:
    """Return a function that runs the study in a folder until it ends or dies.

    The function returns the exit code of the run and the number of its events.
    """
    (tmp_path / "study.toml").write_text(STUDY)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fakes", __name__])

    def attempt(name: str, dies_at: int = 0) -> tuple[int | None, int]:
        events = context.Value("i", 0)
        process = context.Process(target=run_with_kill, args=(tmp_path / name, dies_at, events))
        process.start()
        process.join()
        return process.exitcode, events.value

    return attempt


def run_and_report_cells(folder: Path, computed: Any, begin: Any) -> None:
    """Run the study in this process, and report the cells that it computes.

    It finishes no job before the other run has one too: the jobs are so short that one run could
    do all of them while the other starts, or waits for the unpruned network.
    """

    class ReportCells(Progress):
        has_job = False

        def on_phase(self, name: str) -> None:
            if name == "search" and not self.has_job:
                self.has_job = True
                begin.wait(timeout=60)
            if name == "save":
                computed.put((os.getpid(), self.what))

        def on_work(self, what: str) -> None:
            self.what = what

    records = run_study(
        load_study(folder.parent / "study.toml"),
        Store(folder),
        SerialExecutor(),
        progress=ReportCells(),
    )
    computed.put((os.getpid(), len(records)))


def test_two_runs_of_one_study_at_once_compute_every_cell_once(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fakes", __name__])
    computed = context.Queue()
    begin = context.Barrier(2)
    runs = [
        context.Process(target=run_and_report_cells, args=(tmp_path / "shared", computed, begin))
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    cells: list[tuple[int, str]] = []
    record_counts: list[int] = []
    while len(record_counts) < 2:
        process, message = computed.get(timeout=120)
        if isinstance(message, int):
            record_counts.append(message)
        else:
            cells.append((process, message))
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0] and record_counts == [9, 9]
    assert len(cells) == len({cell for _, cell in cells}) == 9, "a cell was computed twice"
    assert len({process for process, _ in cells}) == 2, "one of the runs did nothing"


@pytest.mark.slow
def test_a_study_that_is_killed_five_times_gives_the_same_answers_bit_for_bit(
    attempt: Any, tmp_path: Path
) -> None:
    code, needed = attempt("undisturbed")
    assert code == 0
    draws = random.Random(0)
    stored: dict[str, tuple[int, int]] = {}
    for _ in range(KILLS):
        code, _ = attempt("killed", draws.randrange(1, needed // KILLS))
        assert code == -signal.SIGKILL
        current = record_identities(tmp_path / "killed")
        unchanged = all(current[key] == identity for key, identity in stored.items())
        assert unchanged, "a finished cell ran twice"
        stored = current
    code, remaining = attempt("killed")
    assert code == 0 and remaining < needed
    assert {key: record_identities(tmp_path / "killed")[key] for key in stored} == stored
    expected, found = (read_results(tmp_path / name) for name in ("undisturbed", "killed"))
    assert len(expected) == 9 and found == expected

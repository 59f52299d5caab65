"""A study that is killed five times in the middle of its work ends as one that was left alone (`tests.endurance.chaos` kills it 100 times);
one that is begun twice at once is shared.
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

from bench.files import atomic
from bench.runner.executors.serial import Serial
from bench.runner.progress import Progress
from bench.runner.run import run_study
from bench.study.store import Store
from bench.study.study import load_study
from bench.training.checkpoints import Checkpoint
from tests.endurance.chaos import answers, identities

STUDY = """
tasks = ["fake"]
backbones = [{backbone = "small_unet", width = 4, levels = 3}]
methods = ["unpruned", {method = "random_search", samples = 4}, {method = "us_net", samples = 2}, "group_lasso", "mosp"]
ratios = [0.6, 0.8]
[recipe]
pretrain_steps = 8
[options.group_lasso]
epochs = 3
"""
KILLS = 5


def run(folder: Path, dies_at: int, events: Any) -> None:
    """In a process of its own: a run that dies at one of its training steps or writes, before, during or after it."""

    def mortal(work: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        def counted(*asked: Any, **named: Any) -> Any:
            done = work(*asked, **named) if after else None
            events.value += 1
            if events.value == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done if after else work(*asked, **named)

        return counted

    torch.optim.Adam.step = mortal(torch.optim.Adam.step)
    Checkpoint.due = lambda self, ended: self.path is not None  # after every step
    atomic.write = mortal(atomic.write)
    os.fsync, os.replace = mortal(os.fsync), mortal(os.replace, after=True)
    run_study(load_study(folder.parent / "study.toml"), Store(folder), Serial())


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., tuple[int | None, int]]:
    """Runs the study in a folder until it ends or dies; gives its exit code and the number of its events."""
    (tmp_path / "study.toml").write_text(STUDY)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fakes", __name__])

    def attempted(name: str, dies_at: int = 0) -> tuple[int | None, int]:
        events = context.Value("i", 0)
        process = context.Process(target=run, args=(tmp_path / name, dies_at, events))
        process.start()
        process.join()
        return process.exitcode, events.value

    return attempted


def share(folder: Path, computed: Any, begin: Any) -> None:
    """In a process of its own: a run that tells which cells it computed."""

    class Tells(Progress):
        def phase(self, name: str) -> None:
            if name == "save":
                computed.put((os.getpid(), self.what))

        def working(self, what: str) -> None:
            self.what = what

    begin.wait()
    records = run_study(
        load_study(folder.parent / "study.toml"), Store(folder), Serial(), progress=Tells()
    )
    computed.put((os.getpid(), len(records)))


def test_two_runs_of_one_study_at_once_compute_every_cell_once(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fakes", __name__])
    computed, begin = context.Queue(), context.Barrier(2)
    runs = [
        context.Process(target=share, args=(tmp_path / "shared", computed, begin)) for _ in range(2)
    ]
    for one in runs:
        one.start()
    told, ended = list[tuple[int, str]](), list[int]()
    while len(ended) < 2:
        who, what = computed.get(timeout=120)
        if isinstance(what, int):
            ended.append(what)
        else:
            told.append((who, what))
    for one in runs:
        one.join()
    assert [one.exitcode for one in runs] == [0, 0] and ended == [9, 9]
    assert len(told) == len({what for _, what in told}) == 9, "a cell was computed twice"
    assert len({who for who, _ in told}) == 2, "one of them did nothing"


def test_a_study_that_is_killed_five_times_gives_the_same_answers_bit_for_bit(
    attempt: Any, tmp_path: Path
) -> None:
    code, needed = attempt("undisturbed")
    assert code == 0
    draws, stored = random.Random(0), dict[str, tuple[int, int]]()
    for _ in range(KILLS):
        code, _ = attempt("killed", draws.randrange(1, needed // KILLS))
        assert code == -signal.SIGKILL
        now = identities(tmp_path / "killed")
        assert all(now[key] == identity for key, identity in stored.items()), (
            "a finished cell ran twice"
        )
        stored = now
    code, left = attempt("killed")
    assert code == 0 and left < needed
    assert {key: identities(tmp_path / "killed")[key] for key in stored} == stored
    wanted, found = (answers(tmp_path / name) for name in ("undisturbed", "killed"))
    assert len(wanted) == 9 and found == wanted

"""Jobs in other processes: the same records, and a killed worker takes nothing with it but its own job, and that only the second time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from select import select
from typing import Any

import pytest

from bench.errors import ConfigError, PluginError
from bench.records import Cell, Record
from bench.runner.executors.processes import Processes
from bench.runner.executors.serial import Serial
from bench.runner.progress import Progress
from bench.runner.queue import Claims
from tests.bench.report.synthetic import cell, record

ROOT = Path(__file__).parents[4]
DIES = 0.4  # the ratio whose worker does not survive it


@dataclass(frozen=True)
class Named:
    """A stand-in for a job."""

    key: str
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Answers:
    """A stand-in for work: a record for each cell; DIES kills its worker, `times` times."""

    folder: Path
    times: int = 0

    def __call__(self, job: Named, progress: Progress) -> Iterator[Record]:
        if job.key == "sentence":
            raise ConfigError("no such photographs")
        if job.key == "raises":
            raise RuntimeError("a bug")
        progress.working("a row")
        for one in job.cells:
            progress.phase("finetune")
            progress.step("finetune", 1, 2)
            (self.folder / f"{one.label} {one.ratio:g} {os.getpid()}").touch()
            if one.ratio == DIES and len(self.tries(one)) <= self.times:
                os.kill(os.getpid(), signal.SIGKILL)
            yield record(one)

    def tries(self, one: Cell) -> list[Path]:
        return list(self.folder.glob(f"{one.label} {one.ratio:g} *"))


def job(label: str, *ratios: float) -> Named:
    return Named(label, tuple(cell(label, ratio) for ratio in ratios))


def claims(folder: Path, jobs: Sequence[Named]) -> Claims[Named]:
    return Claims(jobs, folder / "locks", lambda job: job)


class Notes(Progress):
    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def step(self, phase: str, done: int, steps: int) -> None:
        self.said.append((phase, done, steps))


def in_order(records: Iterator[Record]) -> list[Record]:
    return sorted(records, key=lambda one: (one.cell.label, -one.cell.ratio))


def test_processes_give_the_records_that_one_after_the_other_gives(tmp_path: Path) -> None:
    jobs, notes = [job("a", 0.5, 0.25), job("b", 0.75), job("c", 0.75)], Notes()
    apart = in_order(Processes(2).run_all(claims(tmp_path, jobs), Answers(tmp_path), notes))
    assert apart == in_order(
        Serial().run_all(claims(tmp_path, jobs), Answers(tmp_path), Progress())
    )
    assert notes.said == [("a row: finetune", 1, 2)] * 4
    assert not active_children()


def test_the_job_of_a_killed_worker_is_run_again_for_the_cells_that_are_left(
    tmp_path: Path,
) -> None:
    jobs, work = [job("a", 0.5, DIES, 0.3), job("b", 0.75)], Answers(tmp_path, times=1)
    found = in_order(Processes(2).run_all(claims(tmp_path, jobs), work, Progress()))
    assert [(one.cell.label, one.cell.ratio, one.status) for one in found] == [
        ("a", 0.5, "done"),
        ("a", DIES, "done"),
        ("a", 0.3, "done"),
        ("b", 0.75, "done"),
    ]
    assert [len(work.tries(one)) for one in jobs[0].cells] == [1, 2, 1]


def test_a_worker_that_is_killed_twice_leaves_rows_and_all_other_jobs_go_on(tmp_path: Path) -> None:
    jobs = [job("a", 0.5, DIES, 0.3), job("b", 0.75), job("c", 0.75)]
    waiting = claims(tmp_path, jobs)
    found = in_order(Processes(1).run_all(waiting, Answers(tmp_path, times=2), Progress()))
    assert [one.status for one in found] == ["done", "failed", "failed", "done", "done"]
    assert (
        found[1].reason
        == found[2].reason
        == "the worker was killed by signal 9, perhaps for want of memory; twice"
    )
    assert found[1].phase == "finetune"
    assert claims(tmp_path, jobs).take() == jobs[0], "the job is still claimed"


@pytest.mark.parametrize(
    ("name", "kind", "answer"),
    [("raises", PluginError, "a worker ended early"), ("sentence", ConfigError, "no such")],
)
def test_what_is_no_row_ends_the_run_with_a_sentence(
    name: str, kind: Any, answer: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=answer):
        list(Processes(2).run_all(claims(tmp_path, [Named(name)]), Answers(tmp_path), Progress()))
    assert not active_children()


@dataclass(frozen=True)
class Hangs(Answers):
    """DIES stays in a call of a library that no timer of this process reaches."""

    def __call__(self, job: Named, progress: Progress) -> Iterator[Record]:
        for one in job.cells:
            progress.limited(one, 7200, 0.1)
            progress.phase("search")
            if one.ratio == DIES:
                select([], [], [], 60)
            progress.unlimited()
            yield record(one)


def test_a_worker_that_is_well_past_the_time_limit_is_killed_and_the_other_cells_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.runner.failures.LATE_SECONDS", 0.1)
    found = in_order(
        Processes(1).run_all(
            claims(tmp_path, [job("a", 0.5, DIES, 0.3)]), Hangs(tmp_path), Progress()
        )
    )
    assert [(one.cell.ratio, one.status) for one in found] == [
        (0.5, "done"),
        (DIES, "failed"),
        (0.3, "done"),
    ]
    assert (found[1].phase, found[1].reason) == (
        "search",
        "it ran past the time limit of 2 h 0 min",
    )


@dataclass(frozen=True)
class Waits:
    """Work that stays in one system call until a signal comes: 60 seconds at most.

    It says who it is and how it ended.
    """

    folder: Path
    stubborn: bool = False

    def __call__(self, job: Named, progress: Progress) -> Iterator[Record]:
        if self.stubborn:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            yield record(cell(seed=os.getpid()))
            select([], [], [], 60)
        finally:
            (self.folder / "stopped").touch()


def interrupted(executor: Processes, folder: Path, work: Waits) -> None:
    """Ctrl-C after the first record."""
    for _ in (records := executor.run_all(claims(folder, [Named("a")]), work, Progress())):
        break
    records.throw(KeyboardInterrupt)


def test_an_interruption_asks_workers_to_stop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(Processes(1), tmp_path, Waits(tmp_path))
    assert (tmp_path / "stopped").exists() and not active_children()
    assert "Traceback" not in capfd.readouterr().err


def test_a_second_interruption_kills_workers_that_do_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(self: Any, timeout: float | None = None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("multiprocessing.process.BaseProcess.join", again)
    with pytest.raises(KeyboardInterrupt):
        interrupted(Processes(1), tmp_path, Waits(tmp_path, stubborn=True))
    assert not (tmp_path / "stopped").exists() and not active_children()


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom tests.bench.runner.executors.test_processes import *\n"
        "if __name__ == '__main__':\n"
        f"    folder = pathlib.Path({str(tmp_path)!r})\n"
        "    for one in Processes(1).run_all(claims(folder, [Named('a')]), Waits(folder), Progress()):\n"
        "        print(one.cell.seed, flush=True)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None and int(parent.stdout.readline()) != parent.pid
        parent.kill()
        parent.communicate(
            timeout=20
        )  # returns when the last process has ended that has its output open

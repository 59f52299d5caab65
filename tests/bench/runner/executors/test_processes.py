"""Jobs in other processes: the same records; a worker that is killed costs its own job only."""

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
from bench.runner.executors.processes import ProcessExecutor
from bench.runner.executors.serial import SerialExecutor
from bench.runner.progress import Progress
from bench.runner.queue import JobQueue
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
    """A stand-in for a JobRunner: a record for each cell; DIES kills its worker, `times` times."""

    folder: Path
    times: int = 0

    def __call__(self, job: Named, progress: Progress) -> Iterator[Record]:
        if job.key == "sentence":
            raise ConfigError("no such photographs")
        if job.key == "raises":
            raise RuntimeError("a bug")
        progress.on_work("a row")
        for job_cell in job.cells:
            progress.on_phase("finetune")
            progress.on_step("finetune", 1, 2, 0.25)
            (self.folder / f"{job_cell.label} {job_cell.ratio:g} {os.getpid()}").touch()
            if job_cell.ratio == DIES and len(self.tries(job_cell)) <= self.times:
                os.kill(os.getpid(), signal.SIGKILL)
            yield record(job_cell)

    def tries(self, job_cell: Cell) -> list[Path]:
        return list(self.folder.glob(f"{job_cell.label} {job_cell.ratio:g} *"))


def job(label: str, *ratios: float) -> Named:
    return Named(label, tuple(cell(label, ratio) for ratio in ratios))


def make_queue(folder: Path, jobs: Sequence[Named]) -> JobQueue[Named]:
    return JobQueue(jobs, folder / "locks", lambda job: job)


class Notes(Progress):
    def __init__(self) -> None:
        self.works: list[str] = []
        self.steps: list[tuple[str, int, int, float | None]] = []

    def on_work(self, what: str) -> None:
        self.works.append(what)

    def on_step(self, phase: str, done: int, steps: int, loss: float | None = None) -> None:
        self.steps.append((phase, done, steps, loss))


class NotesByJob(Progress):
    """Keeps the notes of each job."""

    def __init__(self) -> None:
        self.jobs: dict[str, Notes] = {}

    def at_job(self, key: str) -> Notes:
        return self.jobs.setdefault(key, Notes())


def run_sorted(
    executor: ProcessExecutor | SerialExecutor,
    folder: Path,
    jobs: Sequence[Named],
    runner: Any,
    progress: Progress | None = None,
) -> list[Record]:
    records = executor.run_all(make_queue(folder, jobs), runner, progress or Progress())
    return sorted(records, key=lambda record: (record.cell.label, -record.cell.ratio))


def test_processes_give_the_records_that_one_after_the_other_gives(tmp_path: Path) -> None:
    jobs = [job("a", 0.5, 0.25), job("b", 0.75), job("c", 0.75)]
    notes = NotesByJob()
    side_by_side = run_sorted(ProcessExecutor(2), tmp_path, jobs, Answers(tmp_path), notes)
    pids = {path.name.split()[-1] for path in tmp_path.iterdir() if path.is_file()}
    assert len(pids) == len(jobs), "each job has a process of its own"
    assert side_by_side == run_sorted(SerialExecutor(), tmp_path, jobs, Answers(tmp_path))
    assert {key: len(listener.steps) for key, listener in notes.jobs.items()} == {
        "a": 2,
        "b": 1,
        "c": 1,
    }
    assert notes.jobs["a"].steps[0] == ("finetune", 1, 2, 0.25)
    assert notes.jobs["a"].works == ["a row", ""], "its line ends with the job"
    assert not active_children()


def test_the_job_of_a_killed_worker_is_run_again_for_the_cells_that_are_left(
    tmp_path: Path,
) -> None:
    jobs = [job("a", 0.5, DIES, 0.3), job("b", 0.75)]
    runner = Answers(tmp_path, times=1)
    records = run_sorted(ProcessExecutor(2), tmp_path, jobs, runner)
    assert [(record.cell.label, record.cell.ratio, record.status) for record in records] == [
        ("a", 0.5, "done"),
        ("a", DIES, "done"),
        ("a", 0.3, "done"),
        ("b", 0.75, "done"),
    ]
    assert [len(runner.tries(job_cell)) for job_cell in jobs[0].cells] == [1, 2, 1]


def test_a_worker_that_is_killed_twice_leaves_rows_and_all_other_jobs_go_on(tmp_path: Path) -> None:
    jobs = [job("a", 0.5, DIES, 0.3), job("b", 0.75), job("c", 0.75)]
    records = run_sorted(ProcessExecutor(1), tmp_path, jobs, Answers(tmp_path, times=2))
    assert [record.status for record in records] == ["done", "failed", "failed", "done", "done"]
    reason = "the worker was killed by signal 9, perhaps because memory ran out, twice"
    assert [record.reason for record in records[1:3]] == [reason] * 2
    assert records[1].phase == "finetune"
    assert make_queue(tmp_path, jobs).take() == jobs[0], "the job is still locked"


@dataclass(frozen=True)
class Exits(Answers):
    """A stand-in for a method that ends its process at DIES, as if all were well."""

    def __call__(self, job: Named, progress: Progress) -> Iterator[Record]:
        for job_cell in job.cells:
            progress.on_cell(job_cell)
            if job_cell.ratio == DIES:
                os._exit(0)
            yield record(job_cell)


def test_a_cell_that_ends_its_process_is_a_failed_row_and_the_others_of_its_job_go_on(
    tmp_path: Path,
) -> None:
    jobs = [job("a", 0.5, DIES, 0.3)]
    records = run_sorted(ProcessExecutor(1), tmp_path, jobs, Exits(tmp_path))
    assert [record.status for record in records] == ["done", "failed", "done"]
    assert records[1].reason == "the worker ended by itself with exit code 0, twice"


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [("raises", PluginError, "a worker ended early"), ("sentence", ConfigError, "no such")],
)
def test_an_error_that_is_not_a_row_ends_the_run_with_a_sentence(
    name: str, kind: Any, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=sentence):
        run_sorted(ProcessExecutor(2), tmp_path, [Named(name)], Answers(tmp_path))
    assert not active_children()


@dataclass(frozen=True)
class Hangs(Answers):
    """A stand-in that stays in a library call for DIES, which no timer of its process reaches."""

    def __call__(self, job: Named, progress: Progress) -> Iterator[Record]:
        for job_cell in job.cells:
            progress.on_limit(job_cell, 7200, 0.1)
            progress.on_phase("search")
            if job_cell.ratio == DIES:
                select([], [], [], 60)
            progress.on_limit_end()
            yield record(job_cell)


def test_a_worker_that_is_well_past_the_time_limit_is_killed_and_the_other_cells_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.runner.failures.GRACE_SECONDS", 0.1)
    jobs = [job("a", 0.5, DIES, 0.3)]
    records = run_sorted(ProcessExecutor(1), tmp_path, jobs, Hangs(tmp_path))
    assert [(record.cell.ratio, record.status) for record in records] == [
        (0.5, "done"),
        (DIES, "failed"),
        (0.3, "done"),
    ]
    assert records[1].phase == "search"
    assert records[1].reason == "it ran past the time limit of 2 h 0 min"


@dataclass(frozen=True)
class Waits:
    """A stand-in that stays in one system call until a signal comes: 60 seconds at most.

    The seed of its record is the worker's process id; a file shows that it was stopped.
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


def interrupt(executor: ProcessExecutor, folder: Path, runner: Waits) -> None:
    """Press Ctrl-C after the first record."""
    records = executor.run_all(make_queue(folder, [Named("a")]), runner, Progress())
    next(records)
    records.throw(KeyboardInterrupt)


def test_an_interruption_asks_workers_to_stop(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(ProcessExecutor(1), tmp_path, Waits(tmp_path))
    assert (tmp_path / "stopped").exists() and not active_children()
    printed = capfd.readouterr().err
    assert "finishing the step; press Ctrl-C again to stop now" in printed
    assert "Traceback" not in printed


def test_a_second_interruption_kills_workers_that_do_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt_join(self: Any, timeout: float | None = None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("multiprocessing.process.BaseProcess.join", interrupt_join)
    with pytest.raises(KeyboardInterrupt):
        interrupt(ProcessExecutor(1), tmp_path, Waits(tmp_path, stubborn=True))
    assert not (tmp_path / "stopped").exists() and not active_children()


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom tests.bench.runner.executors.test_processes import *\n"
        "if __name__ == '__main__':\n"
        f"    folder = pathlib.Path({str(tmp_path)!r})\n"
        "    queue = make_queue(folder, [Named('a')])\n"
        "    for record in ProcessExecutor(1).run_all(queue, Waits(folder), Progress()):\n"
        "        print(record.cell.seed, flush=True)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None and int(parent.stdout.readline()) != parent.pid
        parent.kill()
        # Returns when the last process that has the output open has ended.
        parent.communicate(timeout=20)

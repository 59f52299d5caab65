"""Several jobs side by side on this machine, each in a process of its own.

Small networks use one core better than two share one network, so a study with one thread a job runs
faster this way; its numbers are the same. This process hands out jobs and alone writes records; a
worker that is killed takes nothing with it but the job in its hands (`bench.runner.failures`).
"""

import multiprocessing
import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from bench.records import Record
from bench.runner.executors.worker import serve
from bench.runner.failures import Attempt, how_it_ended
from bench.runner.progress import Progress
from bench.runner.queue import WAITING, Claims
from bench.runner.run import Work

LOOK_SECONDS = 1.0
STOP_SECONDS = 30.0
LOST, LATE = "lost", "late"  # what a worker can no longer say itself


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes:
    """As many jobs at a time as there are workers.

    Args:
        workers: processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run_all(
        self, jobs: Claims[Any], work: Work, progress: Progress
    ) -> Generator[Record, None, None]:
        """The records of all jobs, each as soon as it is there.

        Raises:
            BenchError: what a worker ended in, unless that is a row.
        """
        again: list[Attempt] = []
        with _Crew(self.workers, work) as crew:
            while again or jobs.left or crew.busy:
                while (
                    crew.has_room
                    and (attempt := again.pop() if again else _first(jobs)) is not None
                ):
                    crew.give(attempt)
                if not crew.busy:
                    progress.working(WAITING)
                for attempt, kind, content in crew.listen():
                    if kind == "record":
                        yield content
                    elif kind == "step":
                        progress.step(*content)
                    elif kind == "error":
                        raise content
                    elif kind == "end":
                        jobs.done(attempt.job)
                    else:
                        another, records = attempt.late() if kind == LATE else attempt.lost(content)
                        yield from records
                        if another is None:
                            jobs.done(attempt.job)
                        else:
                            again.append(another)


def _first(jobs: Claims[Any]) -> Attempt | None:
    """The next job, if one can be had."""
    job = jobs.take()
    return None if job is None else Attempt(job)


@dataclass
class _Worker:
    """A process as it is seen from here, and what it has in hand."""

    process: BaseProcess
    connection: Connection
    attempt: Attempt | None = None

    def messages(self) -> Iterator[tuple[str, Any]]:
        """All that has come, but what its attempt keeps to itself; the last is LOST or LATE once it is gone."""
        alive = self.process.is_alive()  # asked first: what it sent before its end is there by then
        try:
            while self.connection.poll():
                kind, content = self.connection.recv()
                if self.attempt is None or not self.attempt.hears(kind, content):
                    yield kind, content
        except (EOFError, OSError):
            self.process.join(LOOK_SECONDS)
            alive = False
        if not alive:
            yield LOST, how_it_ended(self.process.exitcode)
        elif self.attempt is not None and self.attempt.is_late:
            yield LATE, None

    def end(self) -> None:
        """Leaves nothing of it."""
        self.connection.close()
        self.process.kill()
        self.process.join()


@dataclass
class _Crew:
    """Workers, begun when there is something to do for them; whatever ends the run ends them."""

    size: int
    work: Work
    workers: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> "_Crew":
        return self

    @property
    def busy(self) -> bool:
        """Whether a job is in the hands of a worker."""
        return any(worker.attempt for worker in self.workers)

    @property
    def has_room(self) -> bool:
        """Whether a worker is free or may be begun."""
        return len(self.workers) < self.size or any(
            worker.attempt is None for worker in self.workers
        )

    def give(self, attempt: Attempt) -> None:
        """Hands a job to a free worker."""
        worker = (
            next((worker for worker in self.workers if worker.attempt is None), None)
            or self._begun()
        )
        worker.attempt = attempt
        with suppress(
            OSError
        ):  # it has died while it was idle: that will be seen like any other loss
            worker.connection.send(attempt.rest)

    def listen(self) -> Iterator[tuple[Attempt, str, Any]]:
        """What workers say and what becomes of them within the next second: whose job, what kind, the rest."""
        if self.workers:
            wait([worker.connection for worker in self.workers], LOOK_SECONDS)
        else:
            sleep(LOOK_SECONDS)
        for worker in list(self.workers):
            for kind, content in worker.messages():
                attempt = worker.attempt
                if kind in ("end", LOST, LATE):
                    worker.attempt = None
                if kind in (LOST, LATE):
                    self.workers.remove(worker)
                    worker.end()
                if attempt is not None:
                    yield attempt, kind, content

    def _begun(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, self.work))
        process.start()
        there.close()
        self.workers.append(_Worker(process, here))
        return self.workers[-1]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends all workers: at once where they are idle, else by SIGTERM and after a while; a second interruption does not wait."""
        try:
            for worker in self.workers:
                worker.connection.close()
                if kind is not None:
                    worker.process.terminate()
            end = monotonic() + STOP_SECONDS
            for worker in self.workers:
                worker.process.join(max(0.0, end - monotonic()))
        finally:
            for worker in self.workers:
                worker.end()

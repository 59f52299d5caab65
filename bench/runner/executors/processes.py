"""Several jobs side by side on this machine, each in a process of its own.

A small network uses one core better than two, so a study with one thread for each job runs faster
this way; its numbers are the same. This process hands out jobs and alone writes records; when a
worker is killed, only the job that it was running is affected (`bench.runner.failures`).
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
from bench.runner.executors.remote_progress import replay
from bench.runner.executors.worker import serve
from bench.runner.failures import Attempt, describe_exit
from bench.runner.progress import Progress
from bench.runner.queue import WAITING, JobQueue
from bench.runner.run import JobRunner
from bench.training.interrupts import answer_interrupt

POLL_SECONDS = 1.0
STOP_SECONDS = 30.0
LOST, OVERDUE = "lost", "overdue"  # kinds of messages that the pool makes for a worker


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ProcessExecutor:
    """Runs as many jobs at a time as there are workers.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run_all(
        self, queue: JobQueue[Any], runner: JobRunner, progress: Progress
    ) -> Generator[Record, None, None]:
        """Yield the records of all jobs, each as soon as it is made.

        Raises:
            BenchError: an error of a worker that does not become a row.
        """
        repeated: list[Attempt] = []
        with _WorkerPool(self.workers, runner) as pool:
            while repeated or queue.waiting_count or pool.is_busy:
                _fill(pool, queue, repeated)
                if queue.waiting_count and not pool.is_busy:
                    progress.on_work(WAITING)
                for attempt, kind, content in pool.receive():
                    listener = progress.at_job(attempt.job.key)
                    replay(kind, content, listener)
                    if kind in ("end", LOST, OVERDUE):
                        listener.on_work("")
                    if kind == "record":
                        yield content
                    elif kind == "error":
                        raise content
                    elif kind == "end":
                        queue.mark_done(attempt.job)
                    elif kind in (LOST, OVERDUE):
                        overdue = kind == OVERDUE
                        next_attempt, records = (
                            attempt.after_timeout() if overdue else attempt.after_loss(content)
                        )
                        yield from records
                        if next_attempt is None:
                            queue.mark_done(attempt.job)
                        else:
                            repeated.append(next_attempt)


def _fill(pool: "_WorkerPool", queue: JobQueue[Any], repeated: list[Attempt]) -> None:
    """Assign attempts to free workers, those of lost workers first, as long as there are both."""
    while pool.has_room:
        attempt = repeated.pop() if repeated else _take_attempt(queue)
        if attempt is None:
            return
        pool.assign(attempt)


def _take_attempt(queue: JobQueue[Any]) -> Attempt | None:
    """Return the first attempt at the next job, if one can be taken."""
    job = queue.take()
    return None if job is None else Attempt(job)


@dataclass
class _Worker:
    """A worker process as its parent sees it, and the attempt that it is running."""

    process: BaseProcess
    connection: Connection
    attempt: Attempt | None = None

    def receive(self) -> Iterator[tuple[str, Any]]:
        """Yield all messages that have come.

        The last one is LOST if the process has ended, or OVERDUE if its time limit is exceeded.
        """
        # Checked first, because all that an ended process has sent can still be read below.
        alive = self.process.is_alive()
        try:
            while self.connection.poll():
                kind, content = self.connection.recv()
                if self.attempt is not None:
                    self.attempt.update(kind, content)
                yield kind, content
        except (EOFError, OSError):
            self.process.join(POLL_SECONDS)
            alive = False
        if not alive:
            yield LOST, describe_exit(self.process.exitcode)
        elif self.attempt is not None and self.attempt.is_overdue:
            yield OVERDUE, None

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.connection.close()
        self.process.kill()
        self.process.join()


@dataclass
class _WorkerPool:
    """Worker processes, started when there is a job for them and ended with the run."""

    size: int
    runner: JobRunner
    workers: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> "_WorkerPool":
        return self

    @property
    def is_busy(self) -> bool:
        """Whether a worker has a job."""
        return any(worker.attempt for worker in self.workers)

    @property
    def has_room(self) -> bool:
        """Whether a worker is free or may be started."""
        return len(self.workers) < self.size or any(
            worker.attempt is None for worker in self.workers
        )

    def assign(self, attempt: Attempt) -> None:
        """Give a job to a free worker."""
        free = (worker for worker in self.workers if worker.attempt is None)
        worker = next(free, None) or self._start_worker()
        worker.attempt = attempt
        # A worker that died while it was idle is noticed like any other loss.
        with suppress(OSError):
            worker.connection.send(attempt.remaining_job)

    def receive(self) -> Iterator[tuple[Attempt, str, Any]]:
        """Yield (attempt, kind, content) of the messages that come within POLL_SECONDS."""
        if self.workers:
            wait([worker.connection for worker in self.workers], POLL_SECONDS)
        else:
            sleep(POLL_SECONDS)
        for worker in list(self.workers):
            for kind, content in worker.receive():
                attempt = worker.attempt
                if kind in ("end", LOST, OVERDUE):
                    worker.attempt = None
                if kind in (LOST, OVERDUE):
                    self.workers.remove(worker)
                    worker.kill()
                if attempt is not None:
                    yield attempt, kind, content

    def _start_worker(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self.runner))
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self.workers.append(worker)
        return worker

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers: at once if they are idle, else by SIGTERM and after a while.

        A second interruption does not wait.
        """
        try:
            if kind is KeyboardInterrupt and self.is_busy:
                answer_interrupt()
            for worker in self.workers:
                worker.connection.close()
                if kind is not None:
                    worker.process.terminate()
            end = monotonic() + STOP_SECONDS
            for worker in self.workers:
                worker.process.join(max(0.0, end - monotonic()))
        finally:
            for worker in self.workers:
                worker.kill()

"""Jobs on this machine, one or several at a time, each in a fresh process of its own.

A small network uses one core better than two, so a study with one thread for each job runs faster
side by side; its numbers are the same. This process hands out jobs and alone writes records. What a
job does to its process (a default dtype, an exit, a crash) reaches no other job
(`bench.runner.failures`). On Linux the processes are forked from a server that has imported torch
and never runs a job, so that a fresh one costs milliseconds.
"""

import multiprocessing
import os
import sys
from collections.abc import Generator, Iterator
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

# macOS forbids to fork a process that has loaded its frameworks, and Windows cannot fork.
START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
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
    attempt: Attempt

    def receive(self) -> Iterator[tuple[str, Any]]:
        """Yield all messages that have come.

        The last one is LOST if the process has ended, or OVERDUE if its time limit is exceeded.
        """
        # Checked first, because all that an ended process has sent can still be read below.
        alive = self.process.is_alive()
        try:
            while self.connection.poll():
                kind, content = self.connection.recv()
                self.attempt.update(kind, content)
                yield kind, content
        except (EOFError, OSError):
            self.process.join(POLL_SECONDS)
            alive = False
        if not alive:
            yield LOST, describe_exit(self.process.exitcode)
        elif self.attempt.is_overdue:
            yield OVERDUE, None

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.connection.close()
        self.process.kill()
        self.process.join()


@dataclass
class _WorkerPool:
    """Worker processes, each started for one attempt and ended with it."""

    size: int
    runner: JobRunner
    workers: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> "_WorkerPool":
        return self

    @property
    def is_busy(self) -> bool:
        """Whether a worker has a job."""
        return bool(self.workers)

    @property
    def has_room(self) -> bool:
        """Whether a worker may be started."""
        return len(self.workers) < self.size

    def assign(self, attempt: Attempt) -> None:
        """Start a worker for an attempt."""
        context: Any = multiprocessing.get_context(START_METHOD)
        context.set_forkserver_preload([serve.__module__])
        ours, theirs = context.Pipe()
        arguments = (theirs, self.runner, attempt.remaining_job, dict(os.environ))
        process = context.Process(target=serve, args=arguments)
        process.start()
        theirs.close()
        self.workers.append(_Worker(process, ours, attempt))

    def receive(self) -> Iterator[tuple[Attempt, str, Any]]:
        """Yield (attempt, kind, content) of the messages that come within POLL_SECONDS."""
        if self.workers:
            wait([worker.connection for worker in self.workers], POLL_SECONDS)
        else:
            sleep(POLL_SECONDS)
        for worker in list(self.workers):
            for kind, content in worker.receive():
                if kind in ("end", LOST, OVERDUE):
                    self.workers.remove(worker)
                    worker.kill()
                yield worker.attempt, kind, content
                if kind == "end":  # all that follows is the end of a process that was killed
                    break

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers by SIGTERM, and after a while by force.

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

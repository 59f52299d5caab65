"""Several jobs side by side on this machine, each in a process of its own.

Small networks use one core better than two share one network, so a study with one thread a job runs faster this way; its numbers are the
same. Workers send what happens over one queue; this process alone writes records.
"""

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.queues import Queue
from queue import Empty
from threading import Thread
from typing import Any

from bench.cell import Record
from bench.claims import Claims
from bench.errors import BenchError, PluginError
from bench.progress import Progress
from bench.run import AnyJob, Work

LOOK_SECONDS = 1.0
_messages: Any = None  # in a worker: the queue to the parent


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

    def run_all(self, jobs: Claims[Any], work: Work, progress: Progress) -> Generator[Record, None, None]:
        """The records of all jobs, each as soon as it is there.

        Raises:
            PluginError: a worker was killed, for example for want of memory.
        """
        if not jobs.left:
            return
        running: dict[str, tuple[AnyJob, Future]] = {}
        with _pool(min(self.workers, jobs.left)) as (pool, messages):
            while jobs.left or running:
                while len(running) < self.workers and (job := jobs.take()) is not None:
                    running[job.key] = job, pool.submit(_run, job, work)
                try:
                    kind, content = messages.get(timeout=LOOK_SECONDS)
                except Empty:
                    _check(running.values())
                    continue
                if kind == "record":
                    yield content
                elif kind == "step":
                    progress.step(*content)
                else:
                    job, future = running.pop(content)
                    wait([future])
                    _check([(job, future)])
                    jobs.done(job)


class _Relay(Progress):
    """In a worker: sends what is worked on to the parent."""

    what = ""

    def working(self, what: str) -> None:
        """Kept for the next step."""
        self.what = what

    def step(self, phase: str, done: int, steps: int) -> None:
        """Sent on, with what it belongs to."""
        _messages.put(("step", (f"{self.what}: {phase}", done, steps)))


@contextmanager
def _pool(workers: int) -> Iterator[tuple[ProcessPoolExecutor, Queue]]:
    """Workers and their queue; whatever ends the run ends them."""
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(messages,))
    try:
        yield pool, messages
        pool.shutdown(wait=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _begin(messages: Queue) -> None:
    """In a worker: an interruption is the parent's business, and without a parent there is nothing to work for."""
    global _messages
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _messages = messages


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(job: AnyJob, work: Work) -> None:
    try:
        for record in work(job, _Relay()):
            _messages.put(("record", record))
    finally:
        _messages.put(("end", job.key))


def _check(running: Iterable[tuple[AnyJob, Future]]) -> None:
    """Raises what a worker ended in."""
    for _, future in running:
        error = future.exception() if future.done() else None
        if isinstance(error, BenchError):
            raise error
        if error is not None:
            raise PluginError(f"a worker ended early ({error!r}); finished records are stored, and the same command goes on") from error

"""The reference executor, for debugging: one job after the other, in this process.

A method that ends or crashes its process ends the run, and what one leaves behind in the process
meets the next. Runs use bench.runner.executors.processes.
"""

import ctypes
import gc
from collections.abc import Generator
from time import sleep
from typing import Any

from bench.records import Record
from bench.runner.progress import Progress
from bench.runner.queue import WAITING, JobQueue
from bench.runner.run import JobRunner

POLL_SECONDS = 1.0


class SerialExecutor:
    """Runs one job at a time."""

    workers = 1

    def run_all(
        self, queue: JobQueue[Any], runner: JobRunner, progress: Progress
    ) -> Generator[Record, None, None]:
        """Yield the records of all jobs, each as soon as it is made."""
        while queue.waiting_count:
            job = queue.take()
            if job is not None:
                listener = progress.at_job(job.key)
                yield from runner(job, listener)
                listener.on_work("")
                give_back_memory()
                queue.mark_done(job)
            elif queue.waiting_count:
                progress.on_work(WAITING)
                sleep(POLL_SECONDS)


def give_back_memory() -> None:
    """Give what jobs have freed back to the system; glibc keeps it, and it grows with every job."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)

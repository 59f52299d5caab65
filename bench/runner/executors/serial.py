"""The neutral executor: one job after the other, in this process."""

from collections.abc import Generator
from time import sleep
from typing import Any

from bench.records import Record
from bench.runner.progress import Progress
from bench.runner.queue import WAITING, Claims
from bench.runner.run import Work

LOOK_SECONDS = 1.0


class Serial:
    """One job at a time."""

    workers = 1

    def run_all(
        self, jobs: Claims[Any], work: Work, progress: Progress
    ) -> Generator[Record, None, None]:
        """The records of all jobs, each as soon as it is there."""
        while jobs.left:
            job = jobs.take()
            if job is not None:
                yield from work(job, progress)
                jobs.done(job)
            elif jobs.left:
                progress.working(WAITING)
                sleep(LOOK_SECONDS)

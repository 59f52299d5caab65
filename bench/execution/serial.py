"""The neutral executor: one job after the other, in this process."""

from collections.abc import Iterable, Iterator

from bench.cell import Record
from bench.progress import Progress
from bench.run import Work
from bench.study import Job


class Serial:
    """One job at a time."""

    workers = 1

    def run_all(self, jobs: Iterable[Job], work: Work, progress: Progress) -> Iterator[Record]:
        """The records of all jobs, each as soon as it is there."""
        for job in jobs:
            yield from work(job, progress)

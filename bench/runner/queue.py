"""A queue of jobs: each is given to one process only, also where several share a run folder.

A job is taken by a lock on FOLDER/KEY.lock, which ends with its process, so no lock is ever stale.
Once a job is locked, its results that other processes have stored meanwhile are looked up, so that
no cell is computed twice.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bench.files.lock import Lock

# What an executor reports while other processes hold all jobs that are left.
WAITING = "waiting for another run of this study"


class Keyed(Protocol):
    """A job that can be locked."""

    @property
    def key(self) -> str:
        """Its key, the same in every process that would run this job."""


KeyedJob = TypeVar("KeyedJob", bound=Keyed)


class JobQueue(Generic[KeyedJob]):
    """Jobs that wait for a free worker; as a context manager, it releases all locks at its end.

    Args:
        jobs: in the order in which they should start.
        folder: of the locks; made when the first job is taken.
        trim: returns the part of a locked job that is still to be done; None if it is done.
        on_done: called with each job that is done, before others may lock it.
    """

    def __init__(
        self,
        jobs: Iterable[KeyedJob],
        folder: Path,
        trim: Callable[[KeyedJob], KeyedJob | None],
        on_done: Callable[[KeyedJob], None] = lambda job: None,
    ) -> None:
        self._waiting = list(jobs)
        self._folder = folder
        self._trim = trim
        self._on_done = on_done
        self._locks: dict[str, Lock] = {}

    @property
    def waiting_count(self) -> int:
        """The number of jobs that are not taken here; other processes may be running them."""
        return len(self._waiting)

    def take(self) -> KeyedJob | None:
        """Lock and return the next job.

        None if no job is left, or if other processes are running all the rest: try again later.

        Raises:
            DiskError: the locks cannot be written.
        """
        for job in list(self._waiting):
            lock = Lock(self._folder / f"{job.key}.lock")
            if not lock.acquire():
                continue
            self._waiting.remove(job)
            rest = self._trim(job)
            if rest is not None:
                self._locks[job.key] = lock
                return rest
            lock.release()
        return None

    def __enter__(self) -> "JobQueue[KeyedJob]":
        return self

    def __exit__(self, *_: object) -> None:
        while self._locks:  # after an interruption too, so that other processes may continue
            self._locks.popitem()[1].release()

    def mark_done(self, job: KeyedJob) -> None:
        """Release the lock of a job whose results are stored."""
        self._on_done(job)
        self._locks.pop(job.key).release()

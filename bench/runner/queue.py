"""Jobs to hand out, each to one process alone, also where several share a run folder.

A job is claimed by a lock on FOLDER/KEY.lock, which ends with its process, so no claim is ever
stale. What has been answered meanwhile is looked up once a job is claimed, so that no cell is
computed twice.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bench.files.lock import Lock

WAITING = "waiting for another run of this study"  # what an executor does while nothing that is left can be taken


class Keyed(Protocol):
    """What can be claimed."""

    @property
    def key(self) -> str:
        """Its name, the same for everybody who would do this work."""


Work = TypeVar("Work", bound=Keyed)


class Claims(Generic[Work]):
    """Jobs that wait for somebody who is free; as a context manager, it lets go at the end of what is claimed and not done.

    Args:
        jobs: in the order in which they should begin.
        folder: of the locks; made when the first job is taken.
        remaining: what is left to do of a job that has been claimed; None for nothing.
        finished: called with each job that is done, before others may claim it.
    """

    def __init__(
        self,
        jobs: Iterable[Work],
        folder: Path,
        remaining: Callable[[Work], Work | None],
        finished: Callable[[Work], None] = lambda job: None,
    ) -> None:
        self._waiting = list(jobs)
        self._folder, self._remaining, self._finished = folder, remaining, finished
        self._held: dict[str, Lock] = {}

    @property
    def left(self) -> int:
        """How many jobs wait, here or because another process works on them."""
        return len(self._waiting)

    def take(self) -> Work | None:
        """The next job; None if there is none, or if all that wait are being worked on by other processes: ask again later.

        Raises:
            DiskError: the locks cannot be written.
        """
        for job in list(self._waiting):
            lock = Lock(self._folder / f"{job.key}.lock")
            if not lock.acquire():
                continue
            self._waiting.remove(job)
            rest = self._remaining(job)
            if rest is not None:
                self._held[job.key] = lock
                return rest
            lock.release()
        return None

    def __enter__(self) -> "Claims[Work]":
        return self

    def __exit__(self, *_: object) -> None:
        while self._held:  # whatever interrupted us, others may go on
            self._held.popitem()[1].release()

    def done(self, job: Work) -> None:
        """Its answers are stored, so others may look for them."""
        self._finished(job)
        self._held.pop(job.key).release()

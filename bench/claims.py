"""Jobs to hand out, each to one process alone, also where several share a run folder.

A job is claimed by a lock on FOLDER/KEY.lock. The operating system lets go of it when the process ends, however that ends, so no claim is
ever stale. (A few file systems know no locks. There the file itself is the claim, and after a kill FOLDER has to be removed.) What has been
answered meanwhile is looked up once a job is claimed, so that no cell is computed twice.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from filelock import FileLock, Timeout

from bench import atomic

WAITING = "waiting for another run of this study"  # what an executor does while nothing that is left can be taken


class Keyed(Protocol):
    """What can be claimed."""

    @property
    def key(self) -> str:
        """Its name, the same for everybody who would do this work."""


Work = TypeVar("Work", bound=Keyed)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process is inside with this path, a file that is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


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
        self._held: dict[str, FileLock] = {}

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
            lock = FileLock(self._folder / f"{job.key}.lock", blocking=False)
            try:
                with atomic.disk_errors(self._folder):
                    self._folder.mkdir(parents=True, exist_ok=True)
                    lock.acquire()
            except Timeout:
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

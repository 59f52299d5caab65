"""Locks on files, between processes. The only door to filelock.

The operating system lets go of a lock when its process ends, however that ends, so no lock is ever
stale. (A few file systems know no locks. There the file itself is the lock, and after a kill it has
to be removed.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.files import atomic


class Lock:
    """A lock on a file, which is made where it is not there.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, FileLock(path, blocking=False)

    def acquire(self) -> bool:
        """Whether it could be had, without waiting.

        Raises DiskError if the file cannot be written.
        """
        try:
            with atomic.disk_errors(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Others may have it."""
        self._lock.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits until no other process is inside with this path, a file that is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield

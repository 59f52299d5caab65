"""Locks on files, between processes: the only adapter to filelock.

The operating system releases a lock when its process ends, for whatever reason, so a lock is never
stale. (A few file systems do not support locks. There the file itself is the lock, and the user has
to remove it after a process was killed.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import ConfigError
from bench.files import atomic
from bench.files.log import LOG

NOTICE_SECONDS = 3.0  # of waiting without a word
LIMIT_SECONDS = 600.0  # of waiting in all


class Lock:
    """A lock on a file, which is created if it does not exist.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path, blocking=False)

    def acquire(self) -> bool:
        """Take the lock without waiting; return whether that succeeded.

        Raises:
            DiskError: the file cannot be written.
        """
        try:
            with atomic.disk_errors(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock on `path` within the block; wait for it first, with a word after a while.

    The file is created if it does not exist.

    Raises:
        ConfigError: another process has held it for LIMIT_SECONDS.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    for timeout in (NOTICE_SECONDS, LIMIT_SECONDS):
        try:
            lock.acquire(timeout=timeout)
            break
        except Timeout:
            if timeout == NOTICE_SECONDS:
                LOG.warning("prunebench: waiting for another process, which has locked %s", path)
    else:
        raise ConfigError(
            f"another process has locked {path} for {LIMIT_SECONDS:g} s; wait for it or end it, "
            "and repeat the command"
        )
    try:
        yield
    finally:
        lock.release()

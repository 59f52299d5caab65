"""Files that are either whole or not there: written beside their place, flushed to disk, then renamed.

A disk that is full, read-only, broken or not ours to use is a DiskError: one line that says which
file and what to do. A draft of a process that was killed stays behind, named
.FILE.MACHINE.PROCESS.draft; `clear_drafts` removes it when that process is gone.
"""

import errno
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import DiskError
from bench.files.log import LOG

DAY_SECONDS = 86_400
ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EROFS: "make it writable or choose another folder",
    errno.EACCES: "make it yours to read and write or choose another folder",
    errno.EPERM: "make it yours to read and write or choose another folder",
    errno.EIO: "look after that disk",
}


def write(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, making its folder.

    A reader sees the old file or the new one, never a part. Raises DiskError.
    """
    draft = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.draft")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            with suppress(OSError):  # what went wrong before is to be told
                draft.unlink(missing_ok=True)


def read(path: Path) -> bytes:
    """The whole file. Raises DiskError."""
    with disk_errors(path):
        return path.read_bytes()


def is_there(path: Path) -> bool:
    """Whether there is such a file. Raises DiskError where it is not ours to ask."""
    with disk_errors(path):
        return path.is_file()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What is wrong with the disk, while `path` is used, becomes a DiskError; every other OSError stays what it is."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskError) or error.errno not in ADVICE:
            raise
        advice = (
            f"{ADVICE[error.errno]} and repeat the command; all that was stored before is whole"
        )
        raise DiskError(
            f"{path} cannot be used ({error.strerror or os.strerror(error.errno)}): {advice}"
        ) from error


def clear_drafts(folder: Path) -> None:
    """Removes what killed processes have left in a folder; what is not known to be of this machine, after a day."""
    for draft in folder.rglob(".*.draft"):
        place, _, process = draft.name.removesuffix(".draft").rpartition(".")
        gone = (
            place.endswith(f".{platform.node()}")
            and process.isdecimal()
            and not _alive(int(process))
        )
        with suppress(OSError):  # it was finished meanwhile, or is not ours to remove
            if gone or time.time() - draft.stat().st_mtime > DAY_SECONDS:
                draft.unlink()


def _alive(process: int) -> bool:
    if os.name == "nt":  # where to ask a process is to end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def set_aside(path: Path, why: str, then: str = "made again") -> None:
    """Renames a damaged file to NAME.damaged, with a warning; nothing is deleted.

    Where the disk refuses that, the warning is all.

    Args:
        path: the file.
        why: what is wrong with it.
        then: what becomes of it, or what to do.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        os.replace(path, aside)
    except OSError as error:
        LOG.warning(
            "%s is damaged (%s); it is not used, and cannot be set aside (%s)",
            path,
            why,
            error.strerror,
        )
        return
    LOG.warning("%s is damaged (%s); it is set aside as %s and %s", path, why, aside.name, then)

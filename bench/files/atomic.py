"""Atomic file writes: a reader finds the whole file, old or new, or none.

A file is written under another name in the same folder, flushed to disk, then renamed. A disk that
is full, read-only or broken, and a path that may not be accessed, raise DiskError: one line that
names the file and says what to do. The draft of a killed process stays behind, named
.FILE.MACHINE.PROCESS.draft, and so does its scratch folder; `clear_drafts` removes them when that
process is gone.
"""

import errno
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from bench.errors import DiskError
from bench.files.log import LOG

DAY_SECONDS = 86_400
SCRATCH = ".prunebench-"  # scratch folders begin so
NO_SPACE = "make room there"
NO_PERMISSION = "get permission to read and write there or choose another folder"
ADVICE = {
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EROFS: "make it writable or choose another folder",
    errno.EACCES: NO_PERMISSION,
    errno.EPERM: NO_PERMISSION,
    errno.EIO: "check that disk",
}


def write(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`, whole or not at all; create its folder.

    Raises:
        DiskError: the disk refuses it.
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
            with suppress(OSError):  # must not hide the error that came before
                draft.unlink(missing_ok=True)


def read(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        DiskError: the disk refuses it.
    """
    with disk_errors(path):
        return path.read_bytes()


def exists(path: Path) -> bool:
    """Return whether there is a file at `path`.

    Raises:
        DiskError: the path may not be accessed.
    """
    with disk_errors(path):
        return path.is_file()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of the disk within the block into DiskError; `path` is what is being accessed.

    An OSError that is not the disk's fault (no such file, say) passes unchanged.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskError) or error.errno not in ADVICE:
            raise
        raise DiskError(
            f"{path} cannot be used ({error.strerror or os.strerror(error.errno)}): "
            f"{ADVICE[error.errno]} and repeat the command; what was stored before is whole"
        ) from error


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, which is removed at the end.

    Raises:
        DiskError: the disk refuses it.
    """
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        ending = f".{platform.node()}.{os.getpid()}.draft"
        folder = Path(mkdtemp(ending, SCRATCH, parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_drafts(folder: Path, pattern: str = "**/.*.draft") -> None:
    """Remove the drafts and scratch folders that killed processes left in a folder.

    Drafts of other machines, whose processes cannot be looked up, are removed after a day.

    Args:
        folder: where they are.
        pattern: of their paths; f"{SCRATCH}*.draft" for scratch folders directly in it.
    """
    for draft in list(folder.glob(pattern)):
        file_and_machine, _, process = draft.name.removesuffix(".draft").rpartition(".")
        of_this_machine = file_and_machine.endswith(f".{platform.node()}")
        is_abandoned = of_this_machine and process.isdecimal() and not _is_alive(int(process))
        with suppress(OSError):  # it was finished meanwhile, or belongs to another user
            if is_abandoned or time.time() - draft.stat().st_mtime > DAY_SECONDS:
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # on Windows, os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True


def set_aside(path: Path, why: str, then: str = "made again") -> None:
    """Rename a damaged file to NAME.damaged and warn; nothing is deleted.

    If the disk refuses to rename it, only warn.

    Args:
        path: the damaged file.
        why: what is wrong with it.
        then: what happens to the file next; the end of the warning.
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

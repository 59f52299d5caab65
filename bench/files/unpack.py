"""Unpack a zip or tar archive that is not trusted.

Only regular files are written, below one folder. A link, a device, a path that leads out of the
folder, or content that is much larger than the archive is refused.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from bench.errors import BenchError, ConfigError
from bench.files.atomic import disk_errors

MAX_GROWTH = 10  # of all files together; photographs are compressed already
SMALL_BYTES = 2**20  # that may be added to it
CHUNK_BYTES = 2**20
SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz")


def is_archive(path: Path) -> bool:
    """Return whether a file has the name of an archive."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, inside: str = "") -> None:
    """Write the files of an archive into a folder, which may be left half full by an error.

    Args:
        archive: the archive.
        folder: is created.
        inside: the folder in the archive whose content is taken; "" for all.

    Raises:
        ConfigError: the archive is damaged, refused, or has nothing in `inside`.
        DiskError: the disk refuses it.
    """
    budget = MAX_GROWTH * archive.stat().st_size + SMALL_BYTES
    written = 0
    try:
        with disk_errors(folder):
            for name, content in _open_members(archive):
                path = _check_path(name, archive)
                if path.is_relative_to(inside) and content is not None:
                    written += _write(content, folder / path.relative_to(inside), budget - written)
    except BenchError:
        raise
    except (
        *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error),
        *(RuntimeError, OSError, ValueError),  # encrypted, damaged gzip, twice the same name
    ) as error:
        raise ConfigError(
            f"{archive} cannot be unpacked ({error or type(error).__name__}); download it again"
        ) from error
    if not written:
        raise ConfigError(f"{archive} has nothing in '{inside}'; its layout must have changed")


def _open_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield the name of each member, and its content; None for a folder."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                yield info.filename, None if info.is_dir() else opened.open(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile() and not member.isdir():
                raise ConfigError(f"{archive} holds {member.name}, a link or device; do not use it")
            yield member.name, tar.extractfile(member) if member.isfile() else None


def _check_path(name: str, archive: Path) -> PurePosixPath:
    """Return the path of a member; raise ConfigError if it leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ConfigError(f"{archive} holds {name}, which leads out of its folder; do not use it")
    return path


def _write(content: IO[bytes], path: Path, budget: int) -> int:
    """Write a file and return its bytes; raise ConfigError if they exceed the budget."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with content, path.open("xb") as file:
        while chunk := content.read(CHUNK_BYTES):
            written += len(chunk)
            if written > budget:
                raise ConfigError(
                    f"{path.name} makes its archive more than {MAX_GROWTH} times larger; "
                    "do not use it"
                )
            file.write(chunk)
    return written

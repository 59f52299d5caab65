"""Download a data set into a folder of its own: the whole of it, or nothing; an adapter to pooch.

Files arrive in the hidden folder .NAME.download beside it, each under its name only when it is
complete and its checksum is right. When all are there they are unpacked, and the result is renamed
to NAME. A download that broke is repeated without the files that had arrived.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.errors import BenchError, ConfigError, DiskError
from bench.files.atomic import NO_SPACE, disk_errors
from bench.files.remote_files import Download, RemoteFile
from bench.files.unpack import is_archive, unpack
from bench.units import format_mib

CHUNK_BYTES = 2**20
SIZE_TOLERANCE = 0.05  # published sizes are rounded
UNPACKED = "unpacked"


class Arrived(NamedTuple):
    """What arrived of a file: its bytes and its SHA-256, as hex."""

    size_bytes: int
    sha256: str


def download(data_set: Download, root: Path) -> Mapping[RemoteFile, Arrived]:
    """Download a data set into root/NAME.

    Returns:
        What arrived of the files for which no checksum is published.

    Raises:
        ConfigError: the data set has no files, root/NAME exists, a file cannot be had or is not
            the right one.
        DiskError: the disk has no room, or refuses it.
    """
    target, drafts = root / data_set.name, root / f".{data_set.name}.download"
    if not data_set.files:
        raise ConfigError(
            f"{data_set.name} ({data_set.terms}) is not downloaded by a program; "
            f"get it from {data_set.source}"
        )
    if target.exists():
        raise ConfigError(
            f"{target} exists already, so nothing was downloaded; use it, or remove it first"
        )
    with disk_errors(root):
        try:
            drafts.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigError(f"{root} is not a folder; choose another: --out FOLDER") from error
    try:
        return _download(data_set, target, drafts)
    finally:
        shutil.rmtree(drafts / UNPACKED, ignore_errors=True)
        with suppress(OSError):  # it holds files that had arrived: they are not downloaded again
            drafts.rmdir()


def file_name(file: RemoteFile) -> str:
    """Return the name of a file: the end of its address."""
    return urlsplit(file.url).path.rpartition("/")[2]


def _download(data_set: Download, target: Path, drafts: Path) -> Mapping[RemoteFile, Arrived]:
    _clear(drafts, data_set)
    _check_space(data_set, drafts)
    arrived = {file: _fetch(file, drafts) for file in data_set.files}
    for file, path in arrived.items():
        _place(path, drafts / UNPACKED / file.folder, file.inside)
    found = {file: _describe(path) for file, path in arrived.items() if not file.checksum}
    with disk_errors(target):
        os.replace(drafts / UNPACKED, target)
        shutil.rmtree(drafts)
    return found


def _clear(drafts: Path, data_set: Download) -> None:
    """Remove what an interrupted download left, but for the files that had arrived."""
    arrived = {file_name(file) for file in data_set.files}
    with disk_errors(drafts):
        for entry in drafts.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in arrived:
                entry.unlink()


def _check_space(data_set: Download, drafts: Path) -> None:
    """Raise DiskError if the disk cannot hold the files and their content."""
    needed = 2 * sum(file.size_bytes for file in data_set.files)
    free = shutil.disk_usage(drafts).free
    if free < needed:
        raise DiskError(
            f"{data_set.name} needs {format_mib(needed)} of disk while it is unpacked, and "
            f"{drafts.parent} has {format_mib(free)} free; {NO_SPACE} or choose another folder"
        )


def _fetch(file: RemoteFile, folder: Path) -> Path:
    """Download a file unless it is there. Raises ConfigError."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    loader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=CHUNK_BYTES)
    try:
        with disk_errors(folder):
            path = Path(
                pooch.retrieve(
                    file.url, file.checksum or None, file_name(file), folder, downloader=loader
                )
            )
    except BenchError:
        raise
    except (OSError, ValueError) as error:  # of the network; of the checksum
        raise ConfigError(
            f"{file.url} could not be downloaded ({error}); repeat the command, "
            "or download it by hand"
        ) from error
    size = path.stat().st_size
    if abs(size - file.size_bytes) > SIZE_TOLERANCE * file.size_bytes:
        path.unlink()
        raise ConfigError(
            f"{file.url} has {size:,} bytes instead of {file.size_bytes:,}; "
            "its page may have moved: look for it by hand"
        )
    return path


def _place(path: Path, folder: Path, inside: str) -> None:
    """Unpack an archive into a folder; copy any other file there."""
    if is_archive(path):
        try:
            unpack(path, folder, inside)
        except ConfigError:
            path.unlink()  # so that it is downloaded again
            raise
        return
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)


def _describe(path: Path) -> Arrived:
    with path.open("rb") as file:
        return Arrived(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())

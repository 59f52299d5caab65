"""Files of sample crops (`bench.training.sample_crops`): PNG pictures with a checksum.

    FOLDER/RECORD/SET/PHOTOGRAPH.png                 restored
    FOLDER/RECORD/SET/whole/PHOTOGRAPH.png           restored, whole
    FOLDER/DATA/clean|degraded/SET/...               shared by all records of a task and data set

Each file carries the SHA-256 of its other bytes, as a PNG text named "checksum" before its end.
"""

import zlib
from pathlib import Path
from urllib.parse import quote

from bench.files import atomic
from bench.files.hashing import checksum

MAX_NAME_CHARACTERS = 80
END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG
TEXT = b"tEXt"
NAME = b"checksum\0"
CHECKSUM_CHUNK_BYTES = 12 + len(NAME) + 64


def crop_path(folder: Path, test_set: str, photograph: str, whole: bool = False) -> Path:
    """Return the path of a crop, or of a whole photograph, for names with any characters."""
    folder = folder / _file_name(test_set) / ("whole" if whole else "")
    return folder / f"{_file_name(photograph)}.png"


def write(path: Path, png: bytes) -> None:
    """Write a picture with its checksum, whole or not at all.

    Raises:
        DiskError: the disk refuses it.
    """
    atomic.write(path, _add_checksum(png))


def is_intact(path: Path) -> bool:
    """Return whether a crop exists and matches its checksum; a damaged one is set aside."""
    if not atomic.exists(path):
        return False
    png = atomic.read(path)
    if png == _add_checksum(png[: -CHECKSUM_CHUNK_BYTES - len(END)] + png[-len(END) :]):
        return True
    atomic.set_aside(path, "its checksum does not agree with its content", "left out")
    return False


def _add_checksum(png: bytes) -> bytes:
    """Return the same picture with the checksum of its bytes before its end."""
    content = NAME + checksum(png).encode()
    size = len(content).to_bytes(4, "big")
    crc = zlib.crc32(TEXT + content).to_bytes(4, "big")
    return png[: -len(END)] + size + TEXT + content + crc + png[-len(END) :]


def _file_name(name: str) -> str:
    """Return a file name: the name itself if short and plain, else its start and a checksum."""
    quoted = quote(name, safe="")
    if not quoted.strip("."):  # neither this folder nor its parent
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) <= MAX_NAME_CHARACTERS:
        return quoted
    return f"{quoted[:MAX_NAME_CHARACTERS]}-{checksum(name.encode())[:16]}"

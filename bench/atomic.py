"""Files that are either whole or not there: written beside their place, flushed to disk, then renamed."""

import hashlib
import logging
import os
from pathlib import Path

LOG = logging.getLogger("prunebench")


def write(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, making its folder. A reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def set_aside(path: Path, why: str) -> None:
    """Renames a damaged file to NAME.damaged, with a warning; nothing is deleted."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    LOG.warning("%s is damaged (%s); it is set aside as %s and made again", path, why, aside.name)


def checksum(content: bytes) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(content).hexdigest()

"""JSON files with a checksum of their content and the schema version in which they are written.

"checksum" is the SHA-256 of the canonical JSON of everything else, in every schema. A checksum that
does not match raises ValueError: the caller sets the file aside. A file of a newer program is whole
but may contain what this program does not know: it raises ConfigError and stays where it is. Anyone
may have written a file that is read here, so its size and its depth are limited.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.files import atomic
from bench.files.hashing import digest

MAX_JSON_BYTES = 2**27  # enough for the largest study that is allowed


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file.

    Raises:
        ValueError: it has more than `max_bytes`; the rest is not read.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than the {max_bytes:,} bytes that are read")
    return content


def read_json_limited(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Return the value in a JSON file.

    Raises:
        ValueError: it is too large, nested too deeply or not JSON.
    """
    try:
        return json.loads(read_limited(path, max_bytes))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write(path: Path, content: Mapping[str, Any], indent: int | None = 1) -> None:
    """Write JSON values with their checksum, whole or not at all.

    Raises:
        DiskError: the disk refuses it.
    """
    atomic.write(path, serialize(content, indent))


def serialize(content: Mapping[str, Any], indent: int | None = 1) -> bytes:
    """Return the bytes that `write` writes."""
    return json.dumps({**content, "checksum": digest(dict(content))}, indent=indent).encode()


def read(path: Path, schema: int) -> dict[str, Any]:
    """Return the content that was written, without its checksum.

    Args:
        path: the file.
        schema: the newest schema version that this program knows.

    Raises:
        ValueError: the file is damaged.
        ConfigError: the file was written by a newer program.
        DiskError: the disk refuses it.
    """
    with atomic.disk_errors(path):
        content = read_json_limited(path)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if "checksum" not in content:
        raise ValueError("it has no checksum")
    stated = content.pop("checksum")
    if stated != digest(content):
        raise ValueError("its checksum does not match its content")
    written_in = content.get("schema", 0)
    if type(written_in) is not int:
        raise ValueError(f"its schema is {str(written_in)[:20]}")
    if written_in > schema:
        raise ConfigError(
            f"{path} was written by a newer prunebench (schema {written_in}, this one knows "
            f"{schema}); update this one or choose another folder"
        )
    return content

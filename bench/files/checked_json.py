"""JSON files that know whether they are whole: each carries the checksum of its content, and the schema that it is written in.

A checksum that does not agree is a ValueError: the caller sets the file aside. A file of a newer
program is whole but says what this one does not know: ConfigError, and it stays where it is. The
seal itself is the same in all schemas: "checksum" is the SHA-256 of the canonical JSON of
everything else. Files are read whole: at most so large, and at most so deep; what is read was
written by anybody.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.files import atomic
from bench.files.hashing import digest

MOST_JSON_BYTES = 2**27  # the largest study that is allowed fits


def content_of(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file. Raises ValueError for more than `most_bytes`, before they are read."""
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it has more than the {most_bytes:,} bytes that are read")
    return content


def json_of(path: Path, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """What a JSON file says. Raises ValueError if it is too large, too deep or none."""
    try:
        return json.loads(content_of(path, most_bytes))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write(path: Path, content: Mapping[str, Any], indent: int | None = 1) -> None:
    """Writes plain values, whole or not at all. Raises DiskError."""
    atomic.write(path, text(content, indent))


def text(content: Mapping[str, Any], indent: int | None = 1) -> bytes:
    """What is written."""
    return json.dumps({**content, "checksum": digest(dict(content))}, indent=indent).encode()


def read(path: Path, schema: int) -> dict[str, Any]:
    """The content that was written, without its checksum.

    Args:
        path: the file.
        schema: the newest that this program knows.

    Raises:
        ValueError: it is damaged.
        ConfigError: it is of a newer program.
        DiskError: it cannot be read.
    """
    with atomic.disk_errors(path):
        content = json_of(path)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    if "checksum" not in content:
        raise ValueError("it has no checksum")
    stated = content.pop("checksum")
    if stated != digest(content):
        raise ValueError("its checksum does not agree with its content")
    found = content.get("schema", 0)
    if type(found) is not int:
        raise ValueError(f"its schema is {str(found)[:20]}")
    if found > schema:
        raise ConfigError(
            f"{path} is of a newer prunebench (schema {found}, this one knows {schema}); update this one or choose another folder"
        )
    return content

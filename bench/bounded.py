"""Files that are read whole: at most so large, and of JSON at most so deep. What is read was written by anybody."""

import json
from pathlib import Path
from typing import Any

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

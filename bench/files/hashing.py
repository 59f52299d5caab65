"""SHA-256 of bytes and of plain values."""

import hashlib
import json
from typing import Any


def checksum(content: bytes) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(content).hexdigest()


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of `content`, as hex."""
    return checksum(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())

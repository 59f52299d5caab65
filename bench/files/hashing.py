"""SHA-256 of bytes and of JSON values."""

import hashlib
import json
from typing import Any


def checksum(content: bytes) -> str:
    """Return the SHA-256 of bytes as hex."""
    return hashlib.sha256(content).hexdigest()


def digest(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of a value as hex."""
    return checksum(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())

"""Convert bytes, tensor shapes and durations from and to text.

The program itself computes in bytes, integers and seconds. 1 MiB is 2**20 bytes.
"""

import re
from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import Any

from bench.errors import ConfigError

MIB = 2**20
BYTES = {"kib": 2**10, "mib": MIB, "gib": 2**30}
MAX_SIZE = 2**16  # of one dimension of a shape
MAX_ELEMENTS = 2**32  # of a shape, all dimensions multiplied
MAX_SHAPE_CHARACTERS = 100
MAX_SHOWN_CHARACTERS = 40
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mib(size_bytes: float) -> float:
    """Convert bytes to MiB."""
    return size_bytes / MIB


def parse_size(text: str) -> int:
    """Parse "200MiB" or "1.5GiB" into bytes.

    Raises:
        ConfigError: the text is not a number above 0 and a unit.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([kmg]ib)", text.lower())
    size_bytes = int(float(found[1]) * BYTES[found[2]]) if found else 0
    if not size_bytes:
        raise ConfigError(
            f"{text[:MAX_SHOWN_CHARACTERS]} is not a size above 0 in KiB, MiB or GiB; "
            "write for example 200MiB or 1.5GiB"
        )
    return size_bytes


def format_mib(size_bytes: float) -> str:
    """Format bytes as text, "768.0 MiB"."""
    return f"{mib(size_bytes):.1f} MiB"


def format_shape(shape: Sequence[int] | Sequence[Sequence[int]]) -> str:
    """Format (1, 3, 1024, 2048) as "1x3x1024x2048"; join several shapes by ","."""
    joint = "," if shape and isinstance(shape[0], Sequence) else "x"
    return joint.join(
        format_shape(part) if isinstance(part, Sequence) else str(part) for part in shape
    )


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """Parse "1x3x1024x2048" into (N, C, H, W).

    Raises:
        ConfigError: the text is not four positive integers joined by "x", or they are too large.
    """
    parts = text[:MAX_SHAPE_CHARACTERS].lower().split("x")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"shape '{text}' is not of the form NxCxHxW, four positive integers; "
            "write for example 1x3x256x256"
        )
    sizes = tuple(int(part) for part in parts)
    if max(sizes) > MAX_SIZE or prod(sizes) > MAX_ELEMENTS:
        raise ConfigError(
            f"shape '{text}' is too large: a size may be at most {MAX_SIZE}, "
            f"and their product at most {MAX_ELEMENTS:,}; choose a smaller shape"
        )
    batch, channels, height, width = sizes
    return batch, channels, height, width


def parse_shapes(text: str) -> tuple[tuple[int, int, int, int], ...]:
    """Parse "1x3x64x64,1x1x64x64" into one (N, C, H, W) for each input of a network.

    Raises:
        ConfigError: see `parse_shape`.
    """
    return tuple(parse_shape(part.strip()) for part in text.split(","))


def as_shapes(shape: Any) -> tuple[tuple[int, int, int, int], ...]:
    """Return one shape (N, C, H, W), or a sequence of several, as a tuple of shapes.

    Raises:
        ConfigError: they are not four positive whole numbers each.
    """
    is_several = isinstance(shape, list | tuple) and shape and isinstance(shape[0], list | tuple)
    shapes = shape if is_several else (shape,)
    for sizes in shapes:
        if (
            not isinstance(sizes, list | tuple)
            or len(sizes) != 4
            or not all(isinstance(size, Integral) and int(size) > 0 for size in sizes)
        ):
            raise ConfigError(
                f"shape {sizes!r} is not (N, C, H, W), four positive whole numbers; "
                "write for example (1, 3, 256, 256)"
            )
    return tuple((int(n), int(c), int(h), int(w)) for n, c, h, w in shapes)


def parse_duration(text: str) -> float:
    """Parse "90s", "30m", "2h" or "1.5d" into seconds.

    Raises:
        ConfigError: the text is not a number above 0 and a unit.
    """
    number, unit = text[:-1], text[-1:]
    seconds = 0.0
    if unit in SECONDS and re.fullmatch(r"[0-9]+(\.[0-9]+)?", number):
        seconds = float(number) * SECONDS[unit]
    if seconds <= 0:
        raise ConfigError(
            f"duration '{text}' is not a number above 0 and one of s, m, h, d; "
            "write for example 90s, 30m or 2h"
        )
    return seconds


def format_duration(seconds: float) -> str:
    """Format seconds as "45 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

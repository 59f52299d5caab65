"""Bytes for people (MiB = 2**20 bytes) and shapes as text ("1x3x1024x2048"), durations ("2h").

Inside the program: bytes, ints, seconds.
"""

import re
from collections.abc import Sequence
from math import prod
from typing import Any

from bench.errors import ConfigError

MIB = 2**20
LARGEST_SIZE = 2**16  # of a shape
LONGEST_SHAPE = 100  # letters of one
MOST_NUMBERS = 2**32  # of a shape, all sizes multiplied
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mib(size_bytes: float) -> float:
    """Bytes as MiB."""
    return size_bytes / MIB


def format_mib(size_bytes: float) -> str:
    """Bytes as text, "768.0 MiB"."""
    return f"{mib(size_bytes):.1f} MiB"


def format_shape(shape: Sequence[int] | Sequence[Sequence[int]]) -> str:
    """(1, 3, 1024, 2048) as "1x3x1024x2048"; a tuple of shapes joined by ","."""
    joint = "," if shape and isinstance(shape[0], Sequence) else "x"
    return joint.join(
        format_shape(part) if isinstance(part, Sequence) else str(part) for part in shape
    )


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """ "1x3x1024x2048" as (N, C, H, W).

    Raises:
        ConfigError: the text is not four positive integers joined by "x", or they are too large.
    """
    parts = text[:LONGEST_SHAPE].lower().split("x")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"shape '{text}' is not of the form NxCxHxW, four positive integers; write for example 1x3x256x256"
        )
    batch, channels, height, width = sizes = tuple(int(part) for part in parts)
    if max(sizes) > LARGEST_SIZE or prod(sizes) > MOST_NUMBERS:
        raise ConfigError(
            f"shape '{text}' is too large: {LARGEST_SIZE} is the largest size, and {MOST_NUMBERS:,} the most numbers; give less"
        )
    return batch, channels, height, width


def parse_shapes(text: str) -> tuple[tuple[int, int, int, int], ...]:
    """ "1x3x64x64,1x1x64x64" as one (N, C, H, W) for each input of a network.

    Raises ConfigError.
    """
    return tuple(parse_shape(part.strip()) for part in text.split(","))


def shapes_of(shape: Any) -> tuple[tuple[int, int, int, int], ...]:
    """One (N, C, H, W), or several, as a tuple of shapes."""
    return (tuple(shape),) if isinstance(shape[0], int) else tuple(map(tuple, shape))


def parse_duration(text: str) -> float:
    """ "90s", "30m", "2h" or "1.5d" as seconds.

    Raises:
        ConfigError: the text is not a number above 0 and a unit.
    """
    number, unit = text[:-1], text[-1:]
    seconds = (
        float(number) * SECONDS[unit]
        if unit in SECONDS and re.fullmatch(r"[0-9]+(\.[0-9]+)?", number)
        else 0.0
    )
    if seconds <= 0:
        raise ConfigError(
            f"duration '{text}' is not a number above 0 and one of s, m, h, d; write for example 90s, 30m or 2h"
        )
    return seconds


def format_duration(seconds: float) -> str:
    """Seconds as "45 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

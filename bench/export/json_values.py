"""Arguments of calls and layers as JSON and back.

Numbers, strings, None and lists stand for themselves. A value that JSON cannot express is an object
with one key, the kind of the value: {"node": "cat_3"}, {"tuple": [...]}, {"dict": {...}},
{"slice": [start, stop, step]}, {"ellipsis": true}, {"float": "inf"}, {"dtype": "float32"},
{"memory_format": "channels_last"}.
"""

import math
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import torch
from torch.fx import Node

from bench.errors import ConfigError
from bench.export.allowlist import DTYPES, MEMORY_FORMATS

MAX_DEPTH = 16
MAX_NUMBER = 2**63  # of integers, by absolute value
NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def to_json(value: Any) -> Any:
    """Return a value as JSON. Raises ConfigError if its type has no JSON form."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, Integral):  # of numpy
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if type(value) in (tuple, torch.Size):
        return {"tuple": [to_json(item) for item in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: to_json(item) for key, item in value.items()}}
    return _tag(value)


def _tag(value: Any) -> dict[str, Any]:
    """Return a value as an object whose key names its kind. Raises ConfigError."""
    if isinstance(value, Node):
        return {"node": value.name}
    if isinstance(value, slice):
        return {"slice": [to_json(end) for end in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, torch.dtype | torch.memory_format):
        kind = "dtype" if isinstance(value, torch.dtype) else "memory_format"
        return {kind: str(value).removeprefix("torch.")}
    raise ConfigError(
        f"a value of type {type(value).__name__} cannot be written as JSON: {str(value)[:60]!r}"
    )


def from_json(value: Any, node: Callable[[str], Any], depth: int = 0) -> Any:
    """Return the value that JSON stands for.

    Args:
        value: from `to_json`, or from an untrusted file.
        node: returns the value that a node makes, by the name of the node, or raises ConfigError.
        depth: number of values that enclose this one.

    Raises:
        ConfigError: the value has no known form, is nested too deep or is too large.
    """
    if depth > MAX_DEPTH:
        raise ConfigError(f"values are nested more than {MAX_DEPTH} deep")
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        raise ConfigError("a number has more than 64 bits")
    if value is None or isinstance(value, bool | str | int | float):
        return value
    if isinstance(value, list):
        return [from_json(item, node, depth + 1) for item in value]
    if isinstance(value, Mapping) and len(value) == 1:
        (kind, content), *_ = value.items()
        if kind in READERS:
            return READERS[kind](content, lambda inner: from_json(inner, node, depth + 1), node)
    raise ConfigError(f"{shorten(value)} is not the JSON form of a value")


def shorten(value: Any) -> str:
    """Return an untrusted value as short text for a message."""
    text = (
        repr(value)
        if isinstance(value, str | int | float | None)
        else f"a value of type {type(value).__name__}"
    )
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_parts(content: Any, inner: Callable[[Any], Any], kind: str) -> list[Any]:
    if not isinstance(content, list):
        raise ConfigError(f"a {kind} must be a list, not {shorten(content)}")
    return [inner(item) for item in content]


def _read_slice(content: Any, inner: Callable[[Any], Any], _: Any) -> slice:
    parts = _read_parts(content, inner, "slice")
    if len(parts) != 3:
        raise ConfigError(f"a slice has three ends, not {len(parts)}")
    return slice(*parts)


def _read_dict(content: Any, inner: Callable[[Any], Any], _: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"a dict must be an object, not {shorten(content)}")
    return {key: inner(item) for key, item in content.items()}


def _make_reader(table: Mapping[str, Any], kind: str) -> Callable[..., Any]:
    """Return a reader of values that have a name in a table."""

    def look_up(content: Any, *_: Any) -> Any:
        if not isinstance(content, str) or content not in table:
            raise ConfigError(f"{shorten(content)} is no {kind}; there are {', '.join(table)}")
        return table[content]

    return look_up


READERS: dict[str, Callable[..., Any]] = {
    "node": lambda content, _, node: node(content),
    "tuple": lambda content, inner, _: tuple(_read_parts(content, inner, "tuple")),
    "slice": _read_slice,
    "dict": _read_dict,
    "ellipsis": lambda *_: Ellipsis,
    "float": _make_reader(NOT_FINITE, "float"),
    "dtype": _make_reader(DTYPES, "dtype"),
    "memory_format": _make_reader(MEMORY_FORMATS, "memory format"),
}

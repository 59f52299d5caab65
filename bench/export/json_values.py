"""Arguments of calls and layers as JSON and back.

Numbers, strings, None and lists stand for themselves. What JSON has no form for is an object with
one key that says what it is: {"node": "cat_3"}, {"tuple": [...]}, {"dict": {...}}, {"slice":
[start, stop, step]}, {"ellipsis": true}, {"float": "inf"}, {"dtype": "float32"}, {"memory_format":
"channels_last"}.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Node

from bench.errors import ConfigError
from bench.export.allowlist import MEMORY_FORMATS, NUMBER_TYPES

DEEPEST = 16
LARGEST = 2**63
NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def written(value: Any) -> Any:
    """A value as JSON. Raises ConfigError for one of another type."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [written(each) for each in value]
    if type(value) in (tuple, torch.Size):
        return {"tuple": [written(each) for each in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: written(each) for key, each in value.items()}}
    return _marked(value)


def _marked(value: Any) -> dict[str, Any]:
    if isinstance(value, Node):
        return {"node": value.name}
    if isinstance(value, slice):
        return {"slice": [written(end) for end in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, torch.dtype | torch.memory_format):
        kind = "dtype" if isinstance(value, torch.dtype) else "memory_format"
        return {kind: str(value).removeprefix("torch.")}
    raise ConfigError(
        f"a value of type {type(value).__name__} cannot be written as JSON: {str(value)[:60]!r}"
    )


def read(value: Any, node: Callable[[str], Any], depth: int = 0) -> Any:
    """The value that JSON stands for.

    Args:
        value: from `written`, or from anybody.
        node: finds the value that a node makes, or raises ConfigError.
        depth: how deep inside other values.

    Raises:
        ConfigError: it is of no known form, too deep or too large.
    """
    if depth > DEEPEST:
        raise ConfigError(f"values are nested more than {DEEPEST} deep")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ConfigError("a number has more than 64 bits")
    if value is None or isinstance(value, bool | str | int | float):
        return value
    if isinstance(value, list):
        return [read(each, node, depth + 1) for each in value]
    if isinstance(value, Mapping) and len(value) == 1:
        (kind, content), *_ = value.items()
        if kind in READERS:
            return READERS[kind](content, lambda inner: read(inner, node, depth + 1), node)
    raise ConfigError(f"{shortened(value)} stands for no value")


def shortened(value: Any) -> str:
    """Of something unknown, for a message in one line."""
    text = (
        repr(value)
        if isinstance(value, str | int | float | None)
        else f"a value of type {type(value).__name__}"
    )
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parts(content: Any, inner: Callable[[Any], Any], kind: str) -> list[Any]:
    if not isinstance(content, list):
        raise ConfigError(f"a {kind} must be a list, not {shortened(content)}")
    return [inner(each) for each in content]


def _slice(content: Any, inner: Callable[[Any], Any], _: Any) -> slice:
    parts = _parts(content, inner, "slice")
    if len(parts) != 3:
        raise ConfigError(f"a slice has three ends, not {len(parts)}")
    return slice(*parts)


def _dict(content: Any, inner: Callable[[Any], Any], _: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"a dict must be an object, not {shortened(content)}")
    return {key: inner(each) for key, each in content.items()}


def _one_of(table: Mapping[str, Any], kind: str) -> Callable[..., Any]:
    def look(content: Any, *_: Any) -> Any:
        if not isinstance(content, str) or content not in table:
            raise ConfigError(f"{shortened(content)} is no {kind}; there are {', '.join(table)}")
        return table[content]

    return look


READERS: dict[str, Callable[..., Any]] = {
    "node": lambda content, _, node: node(content),
    "tuple": lambda content, inner, _: tuple(_parts(content, inner, "tuple")),
    "slice": _slice,
    "dict": _dict,
    "ellipsis": lambda *_: Ellipsis,
    "float": _one_of(NOT_FINITE, "float"),
    "dtype": _one_of(NUMBER_TYPES, "dtype"),
    "memory_format": _one_of(MEMORY_FORMATS, "memory format"),
}

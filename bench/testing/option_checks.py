"""What can be seen of the options of a method or a task: whether a study file could hold them."""

import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin

HELD = (bool, int, float, str)  # what a study file holds, and tuples of these


def faults_of_options(cls: Any) -> Iterator[str]:
    """One sentence for each option that a study file could not hold."""
    hints = typing.get_type_hints(cls)
    for entry in fields(cls):
        if not _held(hints[entry.name]):
            kinds = "bool, int, float, str, Literal[...] or tuple[...] of these"
            yield f"option {entry.name} has the type {entry.type}, which a study file does not hold; use {kinds}"
        if entry.default is MISSING and entry.default_factory is MISSING:
            yield f"option {entry.name} has no default; give it the value of the paper"
    for name, value in vars(cls).items():
        if isinstance(value, (*HELD, tuple)) and not name.startswith("_") and name not in hints:
            yield f"{name} = {value!r} has no type, so it is no option; write {name}: {type(value).__name__} = {value!r}"


def _held(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return all(isinstance(choice, HELD) for choice in get_args(hint))
    if origin in (types.UnionType, typing.Union, tuple):
        return all(part is Ellipsis or part is type(None) or _held(part) for part in get_args(hint))
    return hint in (*HELD, tuple)

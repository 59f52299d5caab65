"""Static check of the options of a method or a task: whether a study file can hold them."""

import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin

STORABLE = (bool, int, float, str)  # types in a study file, besides tuples of these


def find_option_faults(cls: Any) -> Iterator[str]:
    """Yield one sentence for each option that a study file cannot hold."""
    hints = typing.get_type_hints(cls)
    for entry in fields(cls):
        if not _is_storable(hints[entry.name]):
            yield (
                f"option {entry.name} has the type {entry.type}, which a study file does not hold; "
                "use bool, int, float, str, Literal[...] or tuple[...] of these"
            )
        if entry.default is MISSING and entry.default_factory is MISSING:
            yield f"option {entry.name} has no default; give it the value of the paper"
    for name, value in vars(cls).items():
        if isinstance(value, (*STORABLE, tuple)) and not name.startswith("_") and name not in hints:
            yield (
                f"{name} = {value!r} has no type, so it is no option; "
                f"write {name}: {type(value).__name__} = {value!r}"
            )


def _is_storable(hint: Any) -> bool:
    """Return whether a study file can hold all values of a type."""
    origin = get_origin(hint)
    if origin is Literal:
        return all(isinstance(choice, STORABLE) for choice in get_args(hint))
    if origin in (types.UnionType, typing.Union, tuple):
        return all(
            part is Ellipsis or part is type(None) or _is_storable(part) for part in get_args(hint)
        )
    return hint in (*STORABLE, tuple)

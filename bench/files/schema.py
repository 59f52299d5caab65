"""Check values that were read from JSON or TOML against type annotations.

    check_fields(Record, content)       ValueError: "steps: 'many' is not a whole number"

Supported are dataclasses, TypedDict, Mapping, tuple, list, unions, Literal, Any and the types of
JSON. `Annotated[Mapping[str, Any], Measurement]` also checks the TypedDict `Measurement`, and
`Annotated[str, 200]` limits a text to 200 characters. Numbers must be finite and at most
MAX_INTEGER or MAX_FLOAT, texts must be valid UTF-8, and nothing may be nested deeper than
MAX_DEPTH: the code that uses the values need not check any of this again.
"""

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache, partial
from typing import Annotated, Any, Literal, get_args, get_origin

MAX_DEPTH = 24
MAX_TEXT_LENGTH = 2**20  # characters
MAX_INTEGER = 2**53  # sums neither overflow nor lose digits
MAX_FLOAT = 1e30  # squares do not overflow
JSON_TYPES = (str, bool, int, float, type(None), list, tuple, Mapping)
Check = Callable[[Any, str, int], None]  # (value, name in messages, depth) raises ValueError
TYPE_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


def check_fields(cls: type, content: Any) -> None:
    """Check each entry of `content` that has the name of a field of `cls`; ignore all others.

    Raises:
        ValueError: the first value that does not have the type of its field, by name.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{_quote(content)} is not a table of {cls.__name__}")
    hints = _type_hints(cls)
    for name in content:
        if name in hints:
            check(content[name], hints[name], name)


def check(value: Any, hint: Any, where: str, depth: int = 0) -> None:
    """Check a value against a type annotation.

    Args:
        value: a JSON value.
        hint: the annotation.
        where: the name of the value in messages, "scores.photos".
        depth: how deeply the value is nested.

    Raises:
        ValueError: the value does not have this type.
    """
    _find_check(hint)(value, where, depth)


@cache
def _find_check(hint: Any) -> Check:
    """Return the function that checks values of a type; it is made once, as records are many."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin is Annotated:
        return partial(_check_annotation, arguments)
    if origin in (types.UnionType, typing.Union):
        return partial(_check_union, [_find_check(kind) for kind in arguments])
    if origin is Literal:
        return partial(_check_choice, arguments)
    if hint is Any:
        return _check_json
    if is_dataclass(hint) or typing.is_typeddict(hint):
        return partial(_check_table, hint)
    if issubclass(origin or hint, Mapping):
        check_name, check_entry = map(_find_check, arguments or (str, Any))
        return partial(_check_mapping, check_name, check_entry)
    if issubclass(origin or hint, (list, tuple)):
        return partial(_check_sequence, arguments, origin or hint)
    return partial(_check_scalar, hint)


@cache
def _type_hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=not typing.is_typeddict(cls))


def _check_json(value: Any, where: str, depth: int) -> None:
    """Check any JSON value."""
    kind: Any = Mapping if isinstance(value, Mapping) else type(value)
    if kind not in JSON_TYPES:
        raise ValueError(f"{where}: {_quote(value)} is not a JSON value")
    _find_check(kind)(value, where, depth)


def _check_choice(choices: tuple[Any, ...], value: Any, where: str, depth: int) -> None:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        text = ", ".join(map(str, choices))
        raise ValueError(f"{where}: {_quote(value)} is not one of {text}")


def _check_annotation(arguments: tuple[Any, ...], value: Any, where: str, depth: int) -> None:
    check(value, arguments[0], where, depth)
    for limit in arguments[1:]:  # a further type, or the maximum length of a text
        if not isinstance(limit, int):
            check(value, limit, where, depth)
        elif len(value) > limit:
            raise ValueError(f"{where}: it has {len(value)} characters, more than {limit}")


def _check_union(checks: Sequence[Check], value: Any, where: str, depth: int) -> None:
    errors = []
    for check_kind in checks:
        try:
            return check_kind(value, where, depth)
        except ValueError as error:
            errors.append(error)
    raise errors[0]


def _check_table(cls: Any, value: Any, where: str, depth: int) -> None:
    """Check a mapping against a TypedDict, with its required keys, or a dataclass."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {_quote(value)} is not a table")
    for name in getattr(cls, "__required_keys__", ()):
        if name not in value:
            raise ValueError(f"{where}: {name} is missing")
    for name, hint in _type_hints(cls).items():
        if name in value:
            check(value[name], hint, f"{where}.{name}", depth + 1)


def _check_mapping(
    check_name: Check, check_entry: Check, value: Any, where: str, depth: int
) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {_quote(value)} is not a table")
    _check_depth(where, depth + 1)
    for name, entry in value.items():
        check_name(name, where, depth + 1)
        check_entry(entry, f"{where}.{name}", depth + 1)


def _check_sequence(kinds: tuple[Any, ...], kind: type, value: Any, where: str, depth: int) -> None:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: {_quote(value)} is not a list")
    _check_depth(where, depth + 1)
    if kind is tuple and kinds and kinds[-1] is not Ellipsis:
        if len(value) != len(kinds):
            raise ValueError(f"{where}: {len(value)} entries instead of {len(kinds)}")
        for entry_kind, entry in zip(kinds, value, strict=True):
            check(entry, entry_kind, where, depth + 1)
    else:
        check_entry = _find_check(kinds[0] if kinds else Any)
        for entry in value:
            check_entry(entry, where, depth + 1)


def _check_depth(where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"{where[:80]}: nested more than {MAX_DEPTH} deep")


def _check_scalar(kind: type, value: Any, where: str, depth: int) -> None:
    found = type(value)
    if found is not kind and not (kind is float and found is int):
        kind_name = TYPE_NAMES.get(kind, kind.__name__)
        raise ValueError(f"{where[:80]}: {_quote(value)} is not {kind_name}")
    if found is float and not -MAX_FLOAT <= value <= MAX_FLOAT:
        is_finite = math.isfinite(value)
        problem = (
            f"a number is above {MAX_FLOAT:,}" if is_finite else f"{value} is not a finite number"
        )
        raise ValueError(f"{where[:80]}: {problem}")
    if found is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise ValueError(f"{where[:80]}: a number is above {MAX_INTEGER:,}")
    if found is str and (len(value) > MAX_TEXT_LENGTH or not _is_writable(value)):
        raise ValueError(
            f"{where[:80]}: {_quote(value)} is not valid text of at most "
            f"{MAX_TEXT_LENGTH:,} characters"
        )


def _is_writable(text: str) -> bool:
    """Return whether a text can be encoded in UTF-8: JSON can contain single surrogates."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _is_huge(value: Any) -> bool:
    """Return whether Python would refuse to convert a whole number to text."""
    return isinstance(value, int) and value.bit_length() > 64


def _quote(value: Any) -> str:
    """Return a value as it is quoted in messages."""
    is_scalar = isinstance(value, str | int | float | None)
    text = ascii(value) if is_scalar and not _is_huge(value) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."

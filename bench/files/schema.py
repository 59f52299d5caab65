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
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

MAX_DEPTH = 24
MAX_TEXT_LENGTH = 2**20  # characters
MAX_INTEGER = 2**53  # sums neither overflow nor lose digits
MAX_FLOAT = 1e30  # squares do not overflow
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
    if depth > MAX_DEPTH:
        raise ValueError(f"{where[:80]}: nested more than {MAX_DEPTH} deep")
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin is Annotated:
        _check_annotation(value, arguments, where, depth)
    elif origin in (types.UnionType, typing.Union):
        _check_union(value, arguments, where, depth)
    elif origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            choices = ", ".join(map(str, arguments))
            raise ValueError(f"{where}: {_quote(value)} is not one of {choices}")
    elif hint is Any:
        check(value, _json_type(value, where), where, depth)
    elif is_dataclass(hint) or typing.is_typeddict(hint):
        _check_table(value, hint, where, depth)
    elif issubclass(origin or hint, Mapping):
        _check_mapping(value, arguments or (str, Any), where, depth)
    elif issubclass(origin or hint, (list, tuple)):
        _check_sequence(value, arguments, origin or hint, where, depth)
    else:
        _check_scalar(value, hint, where)


@cache
def _type_hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=not typing.is_typeddict(cls))


def _json_type(value: Any, where: str) -> Any:
    """Return the JSON type of a value; raise ValueError if it has none."""
    kinds = (str, bool, int, float, type(None), list, tuple)
    kind = Mapping if isinstance(value, Mapping) else type(value)
    if kind is not Mapping and kind not in kinds:
        raise ValueError(f"{where}: {_quote(value)} is not a JSON value")
    return kind


def _check_annotation(value: Any, arguments: tuple[Any, ...], where: str, depth: int) -> None:
    check(value, arguments[0], where, depth)
    for limit in arguments[1:]:  # a further type, or the maximum length of a text
        if not isinstance(limit, int):
            check(value, limit, where, depth)
        elif len(value) > limit:
            raise ValueError(f"{where}: it has {len(value)} characters, more than {limit}")


def _check_union(value: Any, kinds: tuple[Any, ...], where: str, depth: int) -> None:
    errors = []
    for kind in kinds:
        try:
            return check(value, kind, where, depth)
        except ValueError as error:
            errors.append(error)
    raise errors[0]


def _check_table(value: Any, cls: Any, where: str, depth: int) -> None:
    """Check a mapping against a TypedDict, with its required keys, or a dataclass."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {_quote(value)} is not a table")
    for name in getattr(cls, "__required_keys__", ()):
        if name not in value:
            raise ValueError(f"{where}: {name} is missing")
    for name, hint in _type_hints(cls).items():
        if name in value:
            check(value[name], hint, f"{where}.{name}", depth + 1)


def _check_mapping(value: Any, kinds: tuple[Any, ...], where: str, depth: int) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {_quote(value)} is not a table")
    for name, entry in value.items():
        check(name, kinds[0], where, depth + 1)
        check(entry, kinds[1], f"{where}.{name}", depth + 1)


def _check_sequence(value: Any, kinds: tuple[Any, ...], kind: type, where: str, depth: int) -> None:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: {_quote(value)} is not a list")
    has_fixed_length = kind is tuple and kinds and kinds[-1] is not Ellipsis
    if has_fixed_length and len(value) != len(kinds):
        raise ValueError(f"{where}: {len(value)} entries instead of {len(kinds)}")
    for index, entry in enumerate(value):
        entry_kind = kinds[index] if has_fixed_length else kinds[0] if kinds else Any
        check(entry, entry_kind, where, depth + 1)


def _check_scalar(value: Any, kind: type, where: str) -> None:
    name = where[:80]
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"{name}: {_quote(value)} is not {TYPE_NAMES.get(kind, kind.__name__)}")
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"{name}: {value} is not a finite number")
    if type(value) is int and abs(value) > MAX_INTEGER:
        raise ValueError(f"{name}: a number is above {MAX_INTEGER:,}")
    if type(value) is float and abs(value) > MAX_FLOAT:
        raise ValueError(f"{name}: a number is above {MAX_FLOAT:,}")
    if type(value) is str and (len(value) > MAX_TEXT_LENGTH or not _is_writable(value)):
        raise ValueError(
            f"{name}: {_quote(value)} is not valid text of at most {MAX_TEXT_LENGTH:,} characters"
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

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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache, partial
from typing import Annotated, Any, Literal, get_args, get_origin

MAX_DEPTH = 24
MAX_TEXT_LENGTH = 2**20  # characters
MAX_PLACE_LENGTH = 80  # characters, in messages
MAX_INTEGER = 2**53  # sums neither overflow nor lose digits
MAX_FLOAT = 1e30  # squares do not overflow
JSON_TYPES = (str, bool, int, float, type(None), list, tuple, dict, Mapping)
Check = Callable[[Any, int], None]  # (value, depth) raises _MismatchError
TYPE_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


class _MismatchError(ValueError):
    """A value of another type than its annotation; its place is named while the checks unwind."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place: list[str] = []  # innermost first


def check_fields(cls: type, content: Any) -> None:
    """Check each entry of `content` that has the name of a field of `cls`; ignore all others.

    Raises:
        ValueError: the first value that does not have the type of its field, by name.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{_quote(content)} is not a table of {cls.__name__}")
    checks = _field_checks(cls)
    for name in content:
        if name in checks:
            _check_named(checks[name], content[name], name)


def check(value: Any, hint: Any, where: str) -> None:
    """Check a value against a type annotation.

    Args:
        value: a JSON value.
        hint: the annotation.
        where: the name of the value in messages, "scores.photos".

    Raises:
        ValueError: the value does not have this type.
    """
    _check_named(_find_check(hint), value, where)


def _check_named(check_kind: Check, value: Any, where: str) -> None:
    try:
        check_kind(value, 0)
    except _MismatchError as error:
        place = ".".join((where, *reversed(error.place)))
        raise ValueError(f"{place[:MAX_PLACE_LENGTH]}: {error.problem}") from None


@cache
def _find_check(hint: Any) -> Check:
    """Return the function that checks values of a type; it is made once, as records are many."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin is Annotated:
        return partial(
            _check_annotation,
            [_find_check(kind) for kind in arguments if not isinstance(kind, int)],
            [limit for limit in arguments if isinstance(limit, int)],
        )
    if origin in (types.UnionType, typing.Union):
        return partial(_check_union, [_find_check(kind) for kind in arguments])
    if origin is Literal:
        return partial(_check_choice, arguments)
    if hint is Any:
        return _check_json
    if is_dataclass(hint) or typing.is_typeddict(hint):
        return partial(_check_table, getattr(hint, "__required_keys__", ()), _field_checks(hint))
    if issubclass(origin or hint, Mapping):
        check_name, check_entry = map(_find_check, arguments or (str, Any))
        return partial(_check_mapping, check_name, check_entry)
    if issubclass(origin or hint, (list, tuple)):
        checks = [_find_check(kind) for kind in arguments or (Any,) if kind is not Ellipsis]
        is_fixed = issubclass(origin or hint, tuple) and len(checks) == len(arguments)
        return partial(_check_fixed_sequence if is_fixed else _check_sequence, checks)
    return {str: _check_text, int: _check_integer, float: _check_float}.get(
        hint, partial(_check_kind, hint)
    )


@cache
def _field_checks(cls: type) -> dict[str, Check]:
    hints = typing.get_type_hints(cls, include_extras=not typing.is_typeddict(cls))
    return {name: _find_check(hint) for name, hint in hints.items()}


def _check_json(value: Any, depth: int) -> None:
    """Check any JSON value."""
    kind: Any = type(value)
    if kind not in JSON_TYPES and isinstance(value, Mapping):
        kind = Mapping
    if kind not in JSON_TYPES:
        raise _MismatchError(f"{_quote(value)} is not a JSON value")
    _find_check(kind)(value, depth)


def _check_choice(choices: tuple[Any, ...], value: Any, depth: int) -> None:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        text = ", ".join(map(str, choices))
        raise _MismatchError(f"{_quote(value)} is not one of {text}")


def _check_annotation(
    checks: Sequence[Check], limits: Sequence[int], value: Any, depth: int
) -> None:
    """Check a value against a type, further types, and the maximum length of a text."""
    for check_kind in checks:
        check_kind(value, depth)
    for limit in limits:
        if len(value) > limit:
            raise _MismatchError(f"it has {len(value)} characters, more than {limit}")


def _check_union(checks: Sequence[Check], value: Any, depth: int) -> None:
    errors = []
    for check_kind in checks:
        try:
            return check_kind(value, depth)
        except _MismatchError as error:
            errors.append(error)
    raise errors[0]


def _check_table(
    required: Collection[str], checks: Mapping[str, Check], value: Any, depth: int
) -> None:
    """Check a mapping against a TypedDict, with its required keys, or a dataclass."""
    if not isinstance(value, Mapping):
        raise _MismatchError(f"{_quote(value)} is not a table")
    for name in required:
        if name not in value:
            raise _MismatchError(f"{name} is missing")
    for name in checks:
        if name in value:
            _check_entry(checks[name], name, value[name], depth + 1)


def _check_mapping(check_name: Check, check_kind: Check, value: Any, depth: int) -> None:
    if not isinstance(value, Mapping):
        raise _MismatchError(f"{_quote(value)} is not a table")
    _check_depth(depth + 1)
    for name in value:
        check_name(name, depth + 1)
    for name, entry in value.items():
        _check_entry(check_kind, name, entry, depth + 1)


def _check_entry(check_kind: Check, name: str, entry: Any, depth: int) -> None:
    try:
        check_kind(entry, depth)
    except _MismatchError as error:
        error.place.append(name)
        raise


def _check_sequence(checks: Sequence[Check], value: Any, depth: int) -> None:
    """Check a list whose entries have one type."""
    _check_list(value, depth)
    for entry in value:
        checks[0](entry, depth + 1)


def _check_fixed_sequence(checks: Sequence[Check], value: Any, depth: int) -> None:
    """Check a list with a type for each entry."""
    _check_list(value, depth)
    if len(value) != len(checks):
        raise _MismatchError(f"{len(value)} entries instead of {len(checks)}")
    for check_kind, entry in zip(checks, value, strict=True):
        check_kind(entry, depth + 1)


def _check_list(value: Any, depth: int) -> None:
    if not isinstance(value, list | tuple):
        raise _MismatchError(f"{_quote(value)} is not a list")
    _check_depth(depth + 1)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _MismatchError(f"nested more than {MAX_DEPTH} deep")


def _check_kind(kind: type, value: Any, depth: int) -> None:
    if type(value) is not kind:
        raise _MismatchError(f"{_quote(value)} is not {TYPE_NAMES.get(kind, kind.__name__)}")


def _check_integer(value: Any, depth: int) -> None:
    if type(value) is not int:
        raise _MismatchError(f"{_quote(value)} is not {TYPE_NAMES[int]}")
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise _MismatchError(f"a number is above {MAX_INTEGER:,}")


def _check_float(value: Any, depth: int) -> None:
    if type(value) is int:
        return _check_integer(value, depth)
    if type(value) is not float:
        raise _MismatchError(f"{_quote(value)} is not {TYPE_NAMES[float]}")
    if not math.isfinite(value):
        raise _MismatchError(f"{value} is not a finite number")
    if not -MAX_FLOAT <= value <= MAX_FLOAT:
        raise _MismatchError(f"a number is above {MAX_FLOAT:,}")


def _check_text(value: Any, depth: int) -> None:
    if type(value) is not str:
        raise _MismatchError(f"{_quote(value)} is not {TYPE_NAMES[str]}")
    if len(value) > MAX_TEXT_LENGTH or not _is_writable(value):
        raise _MismatchError(
            f"{_quote(value)} is not valid text of at most {MAX_TEXT_LENGTH:,} characters"
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

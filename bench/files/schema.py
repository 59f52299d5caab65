"""Values that were read (JSON, TOML) held against the annotations of what they are to become.

    check_fields(Record, content)       ValueError: "steps: 'many' is no whole number"

Known are dataclasses, TypedDict, Mapping, tuple, list, unions, Literal, Any and plain types.
`Annotated[Mapping[str, Any], Figures]` is held against the TypedDict `Figures` too, `Annotated[str,
200]` has at most 200 letters. Numbers must be finite and below LARGEST, texts must be writable,
nothing may be nested deeper than DEEPEST: so what follows needs no care for any of these.
"""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

DEEPEST = 24
LONGEST = 2**20
LARGEST = 2**53  # of whole numbers: sums of these neither overflow nor lose digits
LARGEST_FLOAT = 1e30  # squares of these do not overflow
WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


def check_fields(cls: type, content: Any) -> None:
    """Raises ValueError for the first entry of a mapping that is no value of the field of `cls` with its name; others are passed over."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{_shown(content)} is no table of {cls.__name__}")
    hints = _hints(cls)
    for name in content:
        if name in hints:
            check(content[name], hints[name], name)


def check(value: Any, hint: Any, where: str, depth: int = 0) -> None:
    """Raises ValueError if a value is none of the type, with its place."""
    if depth > DEEPEST:
        raise ValueError(f"{where[:80]}: nested more than {DEEPEST} deep")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        _check_annotated(value, arguments, where, depth)
    elif origin in (types.UnionType, typing.Union):
        _check_union(value, arguments, where, depth)
    elif origin is Literal:
        if not any(value == one and type(value) is type(one) for one in arguments):
            raise ValueError(
                f"{where}: {_shown(value)} is none of {', '.join(map(str, arguments))}"
            )
    elif hint is Any:
        check(value, _kind_of(value, where), where, depth)
    elif is_dataclass(hint) or typing.is_typeddict(hint):
        _check_table(value, hint, where, depth)
    elif issubclass(origin or hint, Mapping):
        _check_mapping(value, arguments or (str, Any), where, depth)
    elif issubclass(origin or hint, (list, tuple)):
        _check_sequence(value, arguments, origin or hint, where, depth)
    else:
        _check_plain(value, hint, where)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=not typing.is_typeddict(cls))


def _kind_of(value: Any, where: str) -> Any:
    """What plain JSON a value is. Raises ValueError if it is none."""
    kinds = (str, bool, int, float, type(None), list, tuple)
    kind = Mapping if isinstance(value, Mapping) else type(value)
    if kind is not Mapping and kind not in kinds:
        raise ValueError(f"{where}: {_shown(value)} is no plain value")
    return kind


def _check_annotated(value: Any, arguments: tuple[Any, ...], where: str, depth: int) -> None:
    check(value, arguments[0], where, depth)
    for more in arguments[1:]:
        if not isinstance(more, int):
            check(value, more, where, depth)
        elif len(value) > more:
            raise ValueError(f"{where}: it has {len(value)} letters, more than {more}")


def _check_union(value: Any, kinds: tuple[Any, ...], where: str, depth: int) -> None:
    errors = []
    for kind in kinds:
        try:
            return check(value, kind, where, depth)
        except ValueError as error:
            errors.append(error)
    raise errors[0]


def _check_table(value: Any, cls: Any, where: str, depth: int) -> None:
    """A mapping with the fields of a TypedDict or dataclass, and of a TypedDict all that it requires."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {_shown(value)} is no table")
    for name in getattr(cls, "__required_keys__", ()):
        if name not in value:
            raise ValueError(f"{where}: {name} is missing")
    for name, hint in _hints(cls).items():
        if name in value:
            check(value[name], hint, f"{where}.{name}", depth + 1)


def _check_mapping(value: Any, kinds: tuple[Any, ...], where: str, depth: int) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {_shown(value)} is no table")
    for name, one in value.items():
        check(name, kinds[0], where, depth + 1)
        check(one, kinds[1], f"{where}.{name}", depth + 1)


def _check_sequence(value: Any, kinds: tuple[Any, ...], kind: type, where: str, depth: int) -> None:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: {_shown(value)} is no list")
    fixed = kind is tuple and kinds and kinds[-1] is not Ellipsis
    if fixed and len(value) != len(kinds):
        raise ValueError(f"{where}: {len(value)} entries instead of {len(kinds)}")
    for place, one in enumerate(value):
        check(one, kinds[place] if fixed else kinds[0] if kinds else Any, where, depth + 1)


def _check_plain(value: Any, kind: type, where: str) -> None:
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise ValueError(f"{where[:80]}: {_shown(value)} is not {WORDS.get(kind, kind.__name__)}")
    if type(value) is float and not math.isfinite(value):
        raise ValueError(f"{where[:80]}: {value} is no finite number")
    if (type(value) is int and abs(value) > LARGEST) or (
        type(value) is float and abs(value) > LARGEST_FLOAT
    ):
        raise ValueError(
            f"{where[:80]}: a number is above {LARGEST if type(value) is int else LARGEST_FLOAT:,}"
        )
    if type(value) is str and (len(value) > LONGEST or not _writable(value)):
        raise ValueError(
            f"{where[:80]}: {_shown(value)} is no text that can be written, of at most {LONGEST:,} letters"
        )


def _writable(text: str) -> bool:
    """Whether it is UTF-8: JSON can name halves of letters."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_huge(value: Any) -> bool:
    """Whether Python would refuse to write a whole number."""
    return isinstance(value, int) and value.bit_length() > 64


def _shown(value: Any) -> str:
    """A value in a message."""
    words = (
        ascii(value)
        if isinstance(value, str | int | float | None) and not _is_huge(value)
        else type(value).__name__
    )
    return words if len(words) <= 60 else f"{words[:57]}..."

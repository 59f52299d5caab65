"""Options from a user's table onto a frozen dataclass (a method, a task, a recipe): names and types are checked, nothing is guessed."""

import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal, TypeVar, get_args, get_origin

from bench.contract import Task
from bench.errors import ConfigError
from bench.files.schema import check
from bench.plugins.registry import TASKS, unknown
from bench.records import Cell

T = TypeVar("T")
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    tuple: "a list",
}


def configured(cls: type[T], options: Mapping[str, Any], what: str) -> T:
    """An instance of the dataclass `cls` with these options.

    Args:
        cls: its fields are the options.
        options: name -> value as TOML or JSON gives it.
        what: names it in messages, "method mosp".

    Raises:
        ConfigError: an unknown option, a value of another type, or one that the class refuses.
    """
    values = checked(cls, options, what)
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what}: {error}") from error


def cell_task(cell: Cell) -> Task:
    """The task of a cell, with its options."""
    return configured(TASKS.get(cell.task), cell.task_options, f"task {cell.task}")


def checked(cls: type, options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The options, each as its field has it (whole numbers as float where one is asked, lists as tuples). Raises ConfigError."""
    hints = typing.get_type_hints(cls)
    known = {entry.name: hints[entry.name] for entry in fields(cls)}
    for name in options:
        if name not in known:
            raise ConfigError(unknown(f"option of {what}", name, known))
    return {
        name: _fitted(value, known[name], f"{what}: option {name}")
        for name, value in options.items()
    }


def assigned(texts: Sequence[str]) -> dict[str, Any]:
    """ "width=16" and the like as option -> value; what is no TOML value is taken as text.

    Raises ConfigError.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ConfigError(
                f"--set {text} is not of the form OPTION=VALUE; write for example --set width=16"
            )
        options[name] = toml_value(value)
    return options


def toml_value(text: str) -> Any:
    """A value as TOML writes it; what is none is taken as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text.strip()


def plain(instance: Any) -> dict[str, Any]:
    """All fields of a dataclass instance, defaults included."""
    return asdict(instance)


def _fitted(value: Any, hint: Any, what: str) -> Any:
    try:
        check(value, Any, what)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for alternative in _alternatives(hint):
        if get_origin(alternative) is Literal:
            if any(
                value == choice and type(value) is type(choice) for choice in get_args(alternative)
            ):
                return value
        elif alternative is float and type(value) is int:
            return float(value)
        elif (get_origin(alternative) or alternative) is tuple and isinstance(value, list | tuple):
            return tuple(value)
        elif alternative not in WORDS or type(value) is alternative:
            return value
    raise ConfigError(
        f"{what} = {value!r} cannot be used; give {' or '.join(map(_words, _alternatives(hint)))}"
    )


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = get_origin(hint) in (types.UnionType, typing.Union)
    return tuple(kind for kind in get_args(hint) if kind is not type(None)) if union else (hint,)


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    return WORDS.get(get_origin(kind) or kind, str(kind))

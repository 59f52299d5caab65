"""Turn a user's table of options into a frozen dataclass: a method, a task or a recipe.

Names and types are checked; no value is guessed.
"""

import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal, TypeVar, get_args, get_origin

from bench.contract import Task
from bench.errors import BenchError, ConfigError, describe_unknown
from bench.files.schema import check
from bench.plugins.registry import TASKS
from bench.records import Cell

T = TypeVar("T")
TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    tuple: "a list",
}


def configure(cls: type[T], options: Mapping[str, Any], what: str) -> T:
    """Return an instance of the dataclass `cls` with these options.

    Args:
        cls: its fields are the options.
        options: name -> value, from TOML or JSON.
        what: what is configured, for messages: "method mosp".

    Raises:
        ConfigError: an unknown option, a value of a wrong type, or one that the class rejects.
    """
    values = check_options(cls, options, what)
    try:
        return cls(**values)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:  # of the plugin's own code
        raise ConfigError(f"{what}: {error}") from error


def build_task(cell: Cell) -> Task:
    """Return the task of a cell, with the cell's options."""
    return configure(TASKS.get(cell.task), cell.task_options, f"task {cell.task}")


def check_options(cls: type, options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the options with the types of their fields: lists as tuples, whole numbers as float.

    Args:
        cls: the dataclass whose fields are the options.
        options: name -> value, from TOML or JSON.
        what: what is configured, for messages: "method mosp".

    Raises:
        ConfigError: an unknown option or a value of a wrong type.
    """
    hints = typing.get_type_hints(cls)
    known = {entry.name: hints[entry.name] for entry in fields(cls)}
    for name in options:
        if name not in known:
            raise ConfigError(describe_unknown(f"option of {what}", name, known))
    return {
        name: _convert(value, known[name], f"{what}: option {name}")
        for name, value in options.items()
    }


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Parse texts such as "width=16" into option -> value.

    A value that is not valid TOML is taken as text.

    Raises:
        ConfigError: a text without "=" or without a name before it.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ConfigError(
                f"--set {text} is not of the form OPTION=VALUE; write for example --set width=16"
            )
        options[name] = parse_toml_value(value)
    return options


def parse_toml_value(text: str) -> Any:
    """Parse a TOML value; return the text itself if it is not valid TOML."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text.strip()


def option_values(instance: Any) -> dict[str, Any]:
    """Return the options of a method or task with their values, defaults included."""
    return asdict(instance)


def set_option_values(task: Task) -> dict[str, Any]:
    """Return the options of a task as `option_values` does, without those that are not set.

    These are None by default: a new one does not turn stored results into answers to another
    question.
    """
    defaults = {field.name: field.default for field in fields(task)}  # type: ignore[arg-type]
    return {
        name: value
        for name, value in option_values(task).items()
        if value is not None or defaults[name] is not None
    }


def _convert(value: Any, hint: Any, what: str) -> Any:
    """Return the value with the type of the annotation `hint`; raise ConfigError if impossible."""
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
        elif alternative not in TYPE_NAMES or type(value) is alternative:
            return value
    accepted = " or ".join(map(_describe_type, _alternatives(hint)))
    raise ConfigError(f"{what} = {value!r} cannot be used; give {accepted}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, without None; of any other annotation, itself."""
    union = get_origin(hint) in (types.UnionType, typing.Union)
    return tuple(kind for kind in get_args(hint) if kind is not type(None)) if union else (hint,)


def _describe_type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    return TYPE_NAMES.get(get_origin(kind) or kind, str(kind))

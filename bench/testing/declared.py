"""What can be seen of a method or a task without calling it: its class, its functions, its options."""

import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from inspect import Signature, signature
from typing import Any, Literal, get_args, get_origin

from bench.contract import Method, Recipe, Task

HELD = (bool, int, float, str)  # what a study file holds, and tuples of these


def faults_of_method(cls: Any) -> Iterator[str]:
    """One sentence for each reason why this is no method."""
    yield from _faults_of_class(cls, Method)
    for function, *arguments in (("prune", "model", "budget"), ("sweep", "model", "budgets"), ("expected_steps", "recipe")):
        asked, found = signature(getattr(Method, function)), signature(getattr(cls, function))
        if not _takes(found, len(arguments), trainer=function != "expected_steps"):
            yield f"{function}{found} cannot be called as {function}{asked}; take the same arguments"


def faults_of_task(cls: Any) -> Iterator[str]:
    """One sentence for each reason why this is no task."""
    yield from _faults_of_class(cls, Task)
    if not isinstance(getattr(cls, "recipe", None), Recipe):
        yield f"{cls.__name__} has no recipe; write recipe: ClassVar[Recipe] = Recipe()"
    if not getattr(cls, "backbones", None):
        yield f"{cls.__name__} has no backbones; name at least one"


def _faults_of_class(cls: Any, base: type) -> Iterator[str]:
    kind = base.__name__
    if not isinstance(cls, type) or not issubclass(cls, base):
        yield f"{cls!r} is not a subclass of {kind}; write: class Mine({kind}), from bench.contract"
        return
    decorated = vars(cls).get("__dataclass_params__")
    if decorated is None or not decorated.frozen:
        found = "a dataclass that can be changed" if decorated else "no dataclass"
        yield f"{cls.__name__} is {found}; write @dataclass(frozen=True) above it: its fields are its options"
    if not isinstance(getattr(cls, "name", None), str):
        yield f'{cls.__name__} has no name; write @{kind.lower()}("...") of bench.registry above its dataclass'
    lacking: frozenset[str] = vars(cls).get("__abstractmethods__", frozenset())
    if lacking:
        yield f"{cls.__name__} lacks {', '.join(sorted(lacking))}; write it as {kind} in bench.contract does"


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


def _takes(found: Signature, count: int, trainer: bool) -> bool:
    """Whether it can be called with `self` and so many arguments, with a trainer behind them by place or by name, and without one."""
    arguments = [None] * (1 + count)
    try:
        found.bind(*arguments)
        if trainer:
            found.bind(*arguments, None)
            found.bind(*arguments, trainer=None)
    except TypeError:
        return False
    return True

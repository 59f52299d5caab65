"""What the contract asks of the look of a plugin, seen before it is used: one sentence for each fault, the gravest first."""

from collections.abc import Iterator
from inspect import Signature, signature
from typing import Any

from torch import nn

from bench.contract import Method, Recipe, Task


def faults_of_method(cls: Any) -> Iterator[str]:
    """One sentence for each reason why this is no method."""
    yield from _faults_of_class(cls, Method)
    for function, *arguments in (
        ("prune", "model", "budget"),
        ("sweep", "model", "budgets"),
        ("expected_steps", "recipe"),
    ):
        asked, found = signature(getattr(Method, function)), signature(getattr(cls, function))
        if not _takes(found, len(arguments), trainer=function != "expected_steps"):
            wanted = f"{function}({', '.join(asked.parameters)})"
            yield f"{function}{found} cannot be called as {wanted} of bench.contract; take the same arguments"


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
        yield f'{cls.__name__} has no name; write @{kind.lower()}("...") of bench.plugins.registry above its dataclass'
    lacking: frozenset[str] = vars(cls).get("__abstractmethods__", frozenset())
    if lacking:
        yield f"{cls.__name__} lacks {', '.join(sorted(lacking))}; write it as {kind} in bench.contract does"


def faults_of_backbone(builder: Any) -> Iterator[str]:
    """One sentence for each reason why this builds no network."""
    if isinstance(builder, type) and not issubclass(builder, nn.Module):
        yield f"{builder!r} is no torch.nn.Module; give a class of networks, or a function that builds one"
    elif not callable(builder):
        yield f"{builder!r} cannot be called to build a network"


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

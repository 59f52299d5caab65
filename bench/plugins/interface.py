"""Check the interface of a plugin when it is registered, before it is used.

Each function yields one sentence for each fault, the most serious first.
"""

from collections.abc import Iterator
from inspect import Signature, signature
from typing import Any

from torch import nn

from bench.contract import Method, Recipe, Task


def find_method_faults(cls: Any) -> Iterator[str]:
    """Yield one sentence for each reason why a class is not a method."""
    yield from _find_class_faults(cls, Method)
    for function, *arguments in (
        ("prune", "model", "budget"),
        ("sweep", "model", "budgets"),
        ("expected_steps", "recipe"),
    ):
        expected = signature(getattr(Method, function))
        actual = signature(getattr(cls, function))
        if not _accepts(actual, len(arguments), trainer=function != "expected_steps"):
            call = f"{function}({', '.join(expected.parameters)})"
            yield (
                f"{function}{actual} cannot be called as {call} of bench.contract; "
                "take the same arguments"
            )


def find_task_faults(cls: Any) -> Iterator[str]:
    """Yield one sentence for each reason why a class is not a task."""
    yield from _find_class_faults(cls, Task)
    if not isinstance(getattr(cls, "recipe", None), Recipe):
        yield f"{cls.__name__} has no recipe; write recipe: ClassVar[Recipe] = Recipe()"
    if not getattr(cls, "backbones", None):
        yield f"{cls.__name__} has no backbones; name at least one"


def _find_class_faults(cls: Any, base: type) -> Iterator[str]:
    kind = base.__name__
    if not isinstance(cls, type) or not issubclass(cls, base):
        yield (
            f"{cls!r} is not a subclass of {kind}; "
            f"import {kind} from prunebench and write class Mine({kind})"
        )
        return
    dataclass_params = vars(cls).get("__dataclass_params__")
    if dataclass_params is None or not dataclass_params.frozen:
        actual = "a dataclass that is not frozen" if dataclass_params else "not a dataclass"
        yield (
            f"{cls.__name__} is {actual}; write @dataclass(frozen=True) above it: "
            "its fields are its options"
        )
    if not isinstance(getattr(cls, "name", None), str):
        yield (
            f"{cls.__name__} has no name; import {kind.lower()} from prunebench "
            f'and write @{kind.lower()}("...") above its dataclass'
        )
    missing: frozenset[str] = vars(cls).get("__abstractmethods__", frozenset())
    if missing:
        yield (
            f"{cls.__name__} lacks {', '.join(sorted(missing))}; "
            f"write it as {kind} in bench.contract does"
        )


def find_backbone_faults(builder: Any) -> Iterator[str]:
    """Yield one sentence for each reason why an object cannot build a network."""
    if isinstance(builder, type) and not issubclass(builder, nn.Module):
        yield (
            f"{builder!r} is not a torch.nn.Module; "
            "give a class of networks, or a function that builds one"
        )
    elif not callable(builder):
        yield f"{builder!r} cannot be called to build a network"


def _accepts(actual: Signature, count: int, trainer: bool) -> bool:
    """Return whether a method can be called with `self` and `count` positional arguments.

    If `trainer`, it must also accept a trainer after them, by position and by name.
    """
    arguments = [None] * (1 + count)
    try:
        actual.bind(*arguments)
        if trainer:
            actual.bind(*arguments, None)
            actual.bind(*arguments, trainer=None)
    except TypeError:
        return False
    return True

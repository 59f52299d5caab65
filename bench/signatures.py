"""What the contract asks of the look of a plugin, seen before it is used: each function returns what is wrong, in words, or nothing."""

import inspect
from dataclasses import is_dataclass
from typing import Any

from torch import nn

from bench.contract import Method, Task

CALLED_WITH = {"prune": ("model", "budget", "trainer"), "sweep": ("model", "budgets", "trainer")}


def fault_of_method(cls: Any) -> str:
    """What keeps a class from being a method."""
    return _fault_of_class(cls, Method) or next(filter(None, (_fault_of_call(cls, name) for name in CALLED_WITH)), "")


def fault_of_task(cls: Any) -> str:
    """What keeps a class from being a task."""
    return _fault_of_class(cls, Task)


def fault_of_backbone(builder: Any) -> str:
    """What keeps a function or class from being a backbone."""
    if isinstance(builder, type) and not issubclass(builder, nn.Module):
        return "is a class, and no torch.nn.Module"
    return "" if callable(builder) else "is nothing that can be called to build a network"


def _fault_of_class(cls: Any, base: type) -> str:
    if not (isinstance(cls, type) and issubclass(cls, base)):
        return f"is no subclass of bench.contract.{base.__name__}"
    if not is_dataclass(cls) or "__dataclass_fields__" not in vars(cls):
        return "is no dataclass; write @dataclass(frozen=True) between the name and the class"
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return "can be changed after it was made; write @dataclass(frozen=True)"
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    return f"lacks {', '.join(missing)}" if missing else ""


def _fault_of_call(cls: type, name: str) -> str:
    takes = inspect.signature(getattr(cls, name))
    try:
        takes.bind("self", *CALLED_WITH[name])
    except TypeError:
        return f"{name}{takes} cannot be called as {name}({', '.join(CALLED_WITH[name])})"
    return ""

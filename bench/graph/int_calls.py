"""Let `int(x)` of a size keep what it knows, in the code of a network.

Python insists that `int` returns a plain int, so that `int(h * w / 8)` would fix the traced
network to one size. While it is traced, its modules see another `int`, which rounds a size by a
call that is recorded. Other modules keep theirs.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from bench.graph.values import Number


class _Int(type):
    """The type of an `int` that is called for sizes."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a whole number."""
        if len(args) == 1 and isinstance(args[0], Number):
            number: Any = args[0]
            return number if isinstance(number, int) else _truncate(number)
        return int(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, int)

    def __eq__(cls, other: Any) -> bool:
        return other is cls or other is int

    def __hash__(cls) -> int:
        return hash(int)


class SizedInt(int, metaclass=_Int):
    """Stands for `int` in the code of a network while it is traced."""


def _truncate(number: Any) -> Any:
    return math.floor(number) if number.plain >= 0 else math.ceil(number)


@contextmanager
def record_int_calls(model: nn.Module) -> Iterator[None]:
    """Let the code of a network, inside the block, round sizes by `int` without losing them."""
    changed = [names for names in _find_modules(model) if "int" not in names]
    for names in changed:
        names["int"] = SizedInt
    try:
        yield
    finally:
        for names in changed:
            del names["int"]


def _find_modules(model: nn.Module) -> list[dict[str, Any]]:
    """Return the global names of all code that may belong to a network, outside of torch.

    These are the modules of its layers, and all that are loaded of their packages.
    """
    names = {type(module).__module__ for module in model.modules()}
    roots = {name.partition(".")[0] for name in names} - {"torch", "bench"}
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name in names or ("." in name and name.partition(".")[0] in roots)
    ]
    forwards = [getattr(type(module).forward, "__globals__", {}) for module in model.modules()]
    own = [forward for forward in forwards if not forward.get("__name__", "").startswith("torch")]
    found = [vars(module) for module in modules if module is not None] + own
    return list({id(each): each for each in found if each}.values())

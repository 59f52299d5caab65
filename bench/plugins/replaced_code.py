"""The code that trains and judges networks: functions of it that a plugin replaces are found.

A plugin runs in the process that judges it. One that replaces the referee's `check_peak`, a task's
`score` or the `step` of Adam would decide its own row, and rows of others in the same process.
Watched are all functions and classes of our packages that are loaded, with the methods of these
classes and of all tasks, and the functions of torch that a training or a measurement rests on. What
a library does in C, and functions of other libraries, are not seen.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from bench.contract import Task

PACKAGES = ("bench", "methods", "tasks")
TORCH: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (torch.optim, ("Adam",)),
    (torch.optim.Adam, ("__init__", "step")),
    (torch.autograd, ("backward", "grad")),
    (torch.Tensor, ("backward",)),
    (nn.utils, ("clip_grad_norm_",)),
    (nn.Module, ("__call__", "_call_impl", "state_dict", "load_state_dict", "to", "train", "eval")),
    (nn.Conv2d, ("forward", "_conv_forward")),
    (nn.ConvTranspose2d, ("forward",)),
    (nn.functional, ("conv2d", "conv_transpose2d", "l1_loss", "mse_loss", "relu", "leaky_relu")),
)


class WatchedCode:
    """The watched functions at one moment."""

    def __init__(self) -> None:
        adam: Any = torch.optim.Adam
        if not hasattr(adam.step, "hooked"):  # as the first Adam of a process does
            adam.step = adam.profile_hook_step(adam.step)
            adam.step.hooked = True
        self._known = list(_find_functions())

    def find_replaced(self) -> list[str]:
        """Return the names of the functions that are others now: "bench.runner.job.evaluate"."""
        return [
            _name(owner, name)
            for owner, name, value in self._known
            if vars(owner).get(name) is not value
        ]

    def put_back(self) -> None:
        """Make these the present functions."""
        for owner, name, value in self._known:
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)


def _find_functions() -> Iterator[tuple[Any, str, Any]]:
    """Yield (module or class, name, value)."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] not in PACKAGES:
            continue
        for name, value in list(vars(module).items()):
            if not callable(value):
                continue
            yield module, name, value
            if isinstance(value, type) and value.__module__ == module_name:
                yield from _find_methods(value)
    for task in _find_subclasses(Task):
        if task.__module__.partition(".")[0] not in PACKAGES:
            yield from _find_methods(task)
    for owner, names in TORCH:
        yield from ((owner, name, vars(owner)[name]) for name in names if name in vars(owner))


def _find_methods(cls: type) -> Iterator[tuple[Any, str, Any]]:
    for name, value in list(vars(cls).items()):
        if callable(value) or isinstance(value, staticmethod | classmethod | property):
            yield cls, name, value


def _find_subclasses(cls: type) -> Iterator[type]:
    subclasses: list[type] = cls.__subclasses__()
    for subclass in subclasses:
        yield subclass
        yield from _find_subclasses(subclass)


def _name(owner: Any, name: str) -> str:
    path = owner.__name__
    return f"{owner.__module__}.{path}.{name}" if isinstance(owner, type) else f"{path}.{name}"

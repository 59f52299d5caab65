"""The trainer as a method gets it: what the contract names, and nothing else."""

from collections.abc import Callable
from typing import Any

from bench.contract import Trainer
from bench.errors import PluginError
from bench.training.trainer import TaskTrainer

CONTRACT_NAMES = {
    *Trainer.__annotations__,
    *(name for name in vars(Trainer) if not name.startswith("_")),
}


class NotInContract(PluginError, AttributeError):
    """A method asked its trainer for something else; `hasattr` says no."""


class ContractTrainer:
    """A trainer without its meter, its task and the observer of what a method does.

    Args:
        trainer: does the work.
    """

    __slots__ = ("_read",)

    def __init__(self, trainer: TaskTrainer) -> None:
        def read(name: str) -> Any:
            if name not in CONTRACT_NAMES:
                raise NotInContract(
                    f"a method asked for trainer.{name}, which the contract does not name; "
                    "see prunebench.Trainer"
                )
            value = getattr(trainer, name)
            return without_owner(value) if hasattr(value, "__self__") else value

        object.__setattr__(self, "_read", read)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._read(name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise PluginError(f"a method cannot set trainer.{name}; keep results in local variables")


def without_owner(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls a bound method and does not lead to its object."""

    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    return call

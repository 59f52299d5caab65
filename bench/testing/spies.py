"""A task and trainers that notice what a method does with them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from bench.contract import Pair, Trainer
from bench.testing.fixtures import SmallTask
from bench.training.trainer import TaskTrainer

PROTOCOL = {*Trainer.__annotations__, *(name for name in vars(Trainer) if not name.startswith("_"))}


class GuardedTask(SmallTask):
    """The small task; it notes who looks at test photographs."""

    noticed: list[str]

    def __init__(self) -> None:
        object.__setattr__(self, "noticed", [])  # a task is frozen

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Guarded."""
        self.noticed.append("test_sets")
        return super().test_sets(data)

    def photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Guarded."""
        self.noticed.append("photographs")
        return super().photographs(data)

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Guarded: scores are made on test photographs."""
        self.noticed.append("score")
        return super().score(restored, clean)


class Killed(BaseException):
    """Ends a call as a signal would."""


class MortalTrainer(TaskTrainer):
    """A trainer that counts the batches that are drawn.

    Args:
        dies_after: so many; None lives.
    """

    def __init__(self, *asked: Any, dies_after: int | None = None, **named: Any) -> None:
        super().__init__(*asked, **named)
        self.drawn, self._dies_after = 0, dies_after

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As they are. Raises Killed."""
        for pair in super().batches(count):
            if self.drawn == self._dies_after:
                raise Killed
            self.drawn += 1
            yield pair


class WatchedTrainer:
    """A trainer that notes what is taken from it, or put on it, that the contract does not name.

    Args:
        trainer: the real one.
        outside: takes the notes.
    """

    def __init__(self, trainer: TaskTrainer, outside: list[str]) -> None:
        vars(self).update(_trainer=trainer, _outside=outside)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in PROTOCOL:
            self._outside.append(f"trainer.{name}")
        return getattr(self._trainer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._outside.append(f"trainer.{name} = ...")
        setattr(self._trainer, name, value)

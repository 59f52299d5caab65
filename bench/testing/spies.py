"""A task and trainers that record how a method uses them, and a watch on files that it reads."""

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import all_suffixes
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from torch import Generator, Tensor, nn

from bench.contract import Pair, Phase, Trainer
from bench.testing.fixtures import SmallTask
from bench.training.trainer import TaskTrainer

CONTRACT_NAMES = {
    *Trainer.__annotations__,
    *(name for name in vars(Trainer) if not name.startswith("_")),
}


SYSTEM_FOLDERS = ("/dev", "/etc", "/proc", "/sys")
IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".npz", ".png", ".tif", ".tiff", ".webp")
# Files of checkpoints, which the trainer reads, are in the temporary folder under this name.
CHECKPOINT_PREFIX = "prunebench-check-"
_LISTS: list[list[str]] = []  # of the watches that are on


@contextmanager
def watch_files(read: list[str]) -> Iterator[None]:
    """Append to `read` each file that is opened inside the block, unless an import may need it.

    Code, files of the system and of installed packages (but images) are left out. Libraries that
    read files without Python are not seen.
    """
    _install_audit_hook()
    _LISTS.append(read)
    try:
        yield
    finally:
        _LISTS.remove(read)


@cache
def _install_audit_hook() -> None:
    """Install the hook, once for the process: it cannot be removed."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if _LISTS and event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if not _may_be_read(path):
                _LISTS[-1].append(path)

    sys.addaudithook(note)


def _may_be_read(path: str) -> bool:
    lower = path.lower()
    if lower.endswith(IMAGE_ENDINGS):
        return False
    folders = (*SYSTEM_FOLDERS, *sysconfig.get_paths().values(), sys.base_prefix)
    return lower.endswith(tuple(all_suffixes())) or path.startswith(
        (*folders, str(Path(gettempdir()) / CHECKPOINT_PREFIX))
    )


class GuardedTask(SmallTask):
    """The small task; it records each use of test photographs in `forbidden_calls`."""

    forbidden_calls: list[str]

    def __init__(self) -> None:
        object.__setattr__(self, "forbidden_calls", [])  # a task is frozen

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Record the call."""
        self.forbidden_calls.append("test_sets")
        return super().test_sets(data)

    def photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Record the call."""
        self.forbidden_calls.append("photographs")
        return super().photographs(data)

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Record the call: scores are computed on test photographs."""
        self.forbidden_calls.append("score")
        return super().score(restored, clean)


class CountingTrainer(TaskTrainer):
    """A trainer that counts the steps of a training and their rates, and trains nothing."""

    def fit(self, model: nn.Module, steps: int, *, phase: Phase, **_: Any) -> int:
        """Count the steps."""
        for rate in self.learning_rates(phase, steps):
            self.meter.count_step(phase, rate)
        return steps


class Killed(BaseException):
    """Ends a call of a method as a signal would."""


class KillableTrainer(TaskTrainer):
    """A trainer that counts the training batches in `batch_count`, and can kill the call.

    Args:
        kill_after: the number of batches after which it raises Killed; None for never.
    """

    def __init__(self, *args: Any, kill_after: int | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.batch_count = 0
        self._kill_after = kill_after

    def draw_batch(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw and count a training batch. Raises Killed."""
        if self.batch_count == self._kill_after:
            raise Killed
        self.batch_count += 1
        return super().draw_batch(generator)


class WatchedTrainer:
    """A trainer that notes each attribute in use that the contract does not name.

    Args:
        trainer: the real trainer.
        unknown_attributes: list that the notes are appended to.
    """

    def __init__(self, trainer: TaskTrainer, unknown_attributes: list[str]) -> None:
        vars(self).update(_trainer=trainer, _unknown_attributes=unknown_attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in CONTRACT_NAMES:
            self._unknown_attributes.append(f"trainer.{name}")
        return getattr(self._trainer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._unknown_attributes.append(f"trainer.{name} = ...")
        setattr(self._trainer, name, value)

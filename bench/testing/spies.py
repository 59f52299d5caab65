"""A task and trainers that record how a method uses them, and a watch on what it does outside."""

import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import all_suffixes
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from torch import Generator, Tensor, nn

from bench.contract import Pair, Phase
from bench.testing.fixtures import SmallTask
from bench.training.contract_trainer import CONTRACT_NAMES
from bench.training.trainer import TaskTrainer

SYSTEM_FOLDERS = ("/dev", "/etc", "/proc", "/sys")
# Of photographs, arrays and weights, which a package may bring too.
DATA_ENDINGS = (
    *(".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"),
    *(".bin", ".csv", ".gz", ".h5", ".mat", ".npy", ".npz", ".onnx", ".parquet", ".pickle", ".pkl"),
    *(".pt", ".pth", ".safetensors"),
)
# Events of Python (see "Audit events table" of its documentation) beside "open".
PATH_EVENTS = (
    *("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"),
    *("os.truncate", "shutil.rmtree"),
)
OUTSIDE_EVENTS = (
    *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"),
    *("socket.bind", "socket.connect"),
)
# Files of checkpoints, which the trainer reads, are in the temporary folder under this name.
CHECKPOINT_PREFIX = "prunebench-check-"
CACHE = "__pycache__"  # which an import writes
_LISTS: list[list[str]] = []  # of the watches that are on


@contextmanager
def watch_outside(notes: list[str]) -> Iterator[None]:
    """Note each file that is opened or changed inside the block, unless an import may need it.

    Noted as well: processes that are started, connections, and threads that are left behind. Code,
    files of the system and of installed packages (but data) are left out. Libraries that do any of
    that without Python are not seen.
    """
    _install_audit_hook()
    _own_folder()  # now: in the hook, tempfile may hold its lock already
    _LISTS.append(notes)
    before = set(threading.enumerate())
    try:
        yield
    finally:
        _LISTS.remove(notes)
        # Other classes are those of libraries: tqdm, for example, has a thread of its own.
        left = [one for one in threading.enumerate() if type(one) is threading.Thread]
        notes += [f"left the thread {one.name} behind" for one in left if one not in before]


@cache
def _install_audit_hook() -> None:
    """Install the hook, once for the process: it cannot be removed."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if not _LISTS:
            return
        if event in OUTSIDE_EVENTS:
            _LISTS[-1].append(f"called {event}")
        elif event in ("open", *PATH_EVENTS) and isinstance(arguments[0], str | bytes):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if path.startswith("/proc/"):  # /proc/self/cwd is any folder
                path = os.path.realpath(path)
            if event == "open" and not _may_be_read(path):
                _LISTS[-1].append(f"opened {path}")
            elif event != "open" and not path.startswith(_own_folder()) and CACHE not in path:
                _LISTS[-1].append(f"called {event} for {path}")

    sys.addaudithook(note)


def _may_be_read(path: str) -> bool:
    lower = path.lower()
    if lower.endswith(DATA_ENDINGS):
        return path.startswith(_own_folder())
    folders = (*SYSTEM_FOLDERS, *sysconfig.get_paths().values(), sys.base_prefix, _own_folder())
    return lower.endswith(tuple(all_suffixes())) or path.startswith(folders)


@cache
def _own_folder() -> str:
    return str(Path(gettempdir()) / CHECKPOINT_PREFIX)


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

    def fit_in_parts(
        self, model: nn.Module, steps: int, *, phase: Phase, **_: Any
    ) -> Iterator[int]:
        """Count the steps, as one part."""
        yield self.fit(model, steps, phase=phase)


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
        value = getattr(self._trainer, name)
        is_method = getattr(value, "__self__", None) is self._trainer
        return WatchedFunction(value, name, self._unknown_attributes) if is_method else value

    def __setattr__(self, name: str, value: Any) -> None:
        self._unknown_attributes.append(f"trainer.{name} = ...")
        setattr(self._trainer, name, value)


class WatchedFunction:
    """A method of a trainer, which leads to no trainer that is not watched.

    Args:
        function: the method.
        name: its name.
        unknown_attributes: list that the notes are appended to.
    """

    def __init__(self, function: Callable[..., Any], name: str, unknown_attributes: list[str]):
        self._function = function
        self._name = name
        self._unknown_attributes = unknown_attributes

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the method."""
        return self._function(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        self._unknown_attributes.append(f"trainer.{self._name}.{name}")
        return getattr(self._function, name)

"""Checkpoints: a training that was killed resumes from its last checkpoint with the same result.

A training is a function of its initial state: the network, the random streams, and the state of
its callbacks. A checkpoint is found by the hash of that initial state. So a job that is started
again need not know how far it had come: it repeats the same calls, and every training on its way
that has a checkpoint is taken from there, whole or from the middle.

The end of a pretraining outlives its job: pretraining is most of the work of a method that starts
from new weights, and serves studies that differ in what follows. It is kept in the folder of
unpruned networks, and searched for among those that come with the package.

    FOLDER/numbers.json        values of `trainer.remember` with their cost: the losses of a search
    FOLDER/HASH.checkpoint     a line with the checksum of the rest; a line of JSON (steps done,
                               cost); a safetensors file (network, optimizer, random streams)
    SHARED/SCOPE-HASH.pretraining   the same, at the end of a pretraining, without the optimizer

A checkpoint is written at intervals, at the end of a training that took long enough, and on an
interruption. A damaged one is set aside, and the training starts from its beginning. On a CPU with
the same number of threads the result is the same, bit for bit.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from bench.errors import PluginError
from bench.files import atomic, checked_json
from bench.files.hashing import checksum
from bench.files.tensors import copy_to_cpu, tensors_from_bytes, tensors_to_bytes
from bench.training.meter import PRETRAIN

CHECKPOINT_SECONDS = 60.0
SHORT_SHARE = 0.1  # of that time: a shorter training is not worth a file
ENDING = ".checkpoint"
FINISHED_ENDING = ".pretraining"
NUMBERS = "numbers.json"
NUMBERS_SCHEMA = 1  # raise it when older programs could no longer read the numbers


class Stateful(Protocol):
    """An object in `callback_state`: its state is a flat mapping of tensors and plain values."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return all that changes from step to step."""

    def load_state_dict(self, state: Any) -> Any:
        """Restore a state that `state_dict` returned."""


@dataclass
class TrainingState:
    """All that decides how a training continues.

    Args:
        model: the network in training.
        optimizer: the optimizer of its weights.
        generator: of its batches.
        callback_state: by name what the callbacks draw from or change (generators, lists, tensors,
            `Stateful` objects), and the plain values that decide what they do.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: Generator
    callback_state: Mapping[str, Any] = field(default_factory=dict)

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the state by name: tensors (copied to the CPU) and plain values."""
        device = next(self.model.parameters()).device
        state: dict[str, Any] = {
            f"model {name}": value for name, value in self.model.state_dict().items()
        }
        state |= {f"buffer {name}": value for name, value in self._unsaved_buffers().items()}
        for index, weight in enumerate(self._weights()):
            moments = self.optimizer.state.get(weight, {})  # a file has them in another order
            state |= {f"optimizer {index} {name}": moments[name] for name in sorted(moments)}
        state["draws"] = self.generator.get_state()
        state["common"] = torch.get_rng_state()
        state["torch"] = str(torch.__version__)
        state["device"] = device.type
        if device.type == "cuda":
            state["common cuda"] = torch.cuda.get_rng_state(device)
        for name, item in self.callback_state.items():
            state |= {f"carried {name}/{key}": value for key, value in _get_state(item).items()}
        tensors = {
            name: copy_to_cpu(value) for name, value in state.items() if isinstance(value, Tensor)
        }
        values = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        return tensors, values

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `snapshot` returned."""
        state = {**tensors, **values}
        self.model.load_state_dict(_select_prefix(tensors, "model "))
        for name, buffer in self._unsaved_buffers().items():
            buffer.copy_(tensors[f"buffer {name}"])
        for index, weight in enumerate(self._weights()):
            moments = _select_prefix(state, f"optimizer {index} ")
            if moments:
                self.optimizer.state[weight] = {
                    name: _match_layout(weight, value) for name, value in moments.items()
                }
        self.generator.set_state(tensors["draws"])
        torch.set_rng_state(tensors["common"])
        if "common cuda" in tensors:
            torch.cuda.set_rng_state(tensors["common cuda"], next(self.model.parameters()).device)
        for name, item in self.callback_state.items():
            _set_state(item, _select_prefix(state, f"carried {name}/"))

    def _unsaved_buffers(self) -> dict[str, Tensor]:
        """Return the buffers that the network leaves out of its state_dict."""
        saved = self.model.state_dict()
        return {name: buffer for name, buffer in self.model.named_buffers() if name not in saved}

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]


def _get_state(item: Any) -> Mapping[str, Any]:
    if isinstance(item, Generator):
        return {"state": item.get_state()}
    if isinstance(item, list):
        return {"items": list(item)}
    if isinstance(item, Tensor):
        return {"value": item}
    state: Mapping[str, Any] = item.state_dict() if hasattr(item, "state_dict") else {"value": item}
    return state


def _set_state(item: Any, state: dict[str, Any]) -> None:
    if isinstance(item, Generator):
        item.set_state(state["state"])
    elif isinstance(item, list):
        item[:] = state["items"]
    elif isinstance(item, Tensor):
        item.copy_(state["value"])
    elif hasattr(item, "load_state_dict"):
        item.load_state_dict(state)


def _select_prefix(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose name has a prefix, without the prefix."""
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _match_layout(weight: Tensor, value: Tensor) -> Tensor:
    """Copy a value to the device of a weight, and into its layout if the shapes are equal.

    A fused optimizer step reads both memories in step, so their layouts must be equal.
    """
    if value.shape == weight.shape:
        return torch.empty_like(weight, requires_grad=False).copy_(value)
    return value.to(weight.device)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one job.

    Args:
        folder: where they are; made when the first is written; None keeps nothing.
        every_seconds: time between two checkpoints of a training.
        shared_folders: searched for finished pretrainings; a new one is written to the first.
        scope: hash of all that decides a pretraining besides its initial state.
    """

    folder: Path | None = None
    every_seconds: float = CHECKPOINT_SECONDS
    shared_folders: tuple[Path, ...] = ()
    scope: str = ""

    def open_checkpoint(
        self,
        state: TrainingState,
        facts: Mapping[str, Any],
        resumable: bool,
        in_parts: bool = False,
    ) -> "Checkpoint":
        """Return the checkpoint of the training that starts in this state.

        Args:
            state: all that the training starts with.
            facts: plain values that decide what it does: phase, hash of the learning rates.
            resumable: whether `state` is complete; otherwise nothing is kept.
            in_parts: the training may go on after its end, with the same optimizer. Its end is
                kept for this job alone.
        """
        if self.folder is None or not resumable:
            return Checkpoint(state, None, self.every_seconds)
        start = _Start(self.folder, state, facts)
        if in_parts or facts["phase"] != PRETRAIN:
            may_resume = bool(self._found)
            return Checkpoint(state, start, self.every_seconds, may_resume, goes_on=in_parts)
        end = f"{self.scope}-{start.hash[:32]}{FINISHED_ENDING}"
        finished = tuple(folder / end for folder in self.shared_folders)
        return Checkpoint(state, start, self.every_seconds, True, finished)

    @cached_property
    def _found(self) -> list[Path]:
        """What an earlier process has left; this one never needs its own."""
        return [] if self.folder is None else list(self.folder.glob(f"*{ENDING}"))

    def read_numbers(self) -> dict[str, Any]:
        """Return the remembered numbers: name -> value and cost."""
        path = None if self.folder is None else self.folder / NUMBERS
        if path is None or not atomic.exists(path):
            return {}
        try:
            return dict(checked_json.read(path, NUMBERS_SCHEMA)["numbers"])
        except ValueError as error:
            atomic.set_aside(path, str(error), "computed again")
            return {}

    def write_numbers(self, numbers: Mapping[str, Any]) -> None:
        """Replace the remembered numbers."""
        if self.folder is not None:
            content = {"schema": NUMBERS_SCHEMA, "numbers": dict(numbers)}
            checked_json.write(self.folder / NUMBERS, content, indent=None)

    def delete(self) -> None:
        """Delete the folder, once the results of the job are stored.

        What cannot be removed, perhaps because another process has just removed it, is left.
        """
        if self.folder is not None:
            rmtree(self.folder, ignore_errors=True)


NO_CHECKPOINTS = Checkpoints()


class _Start:
    """The state in which a training starts, and the place of its checkpoint.

    The state is copied and hashed when the place is asked for first, so that a short training that
    nothing can resume pays for the copy alone.

    Raises:
        PluginError: now, for a callback state that could not be written later.
    """

    def __init__(self, folder: Path, state: TrainingState, facts: Mapping[str, Any]) -> None:
        self._folder = folder
        self._tensors, values = state.snapshot()
        try:
            self._plain = json.dumps([dict(facts), values], sort_keys=True)
        except TypeError as error:
            raise PluginError(
                f"callback_state must hold objects with a state, or plain values: {error}"
            ) from error

    @cached_property
    def hash(self) -> str:
        whole = hashlib.sha256(self._plain.encode())
        for name, tensor in self._tensors.items():
            whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        self._tensors.clear()
        return whole.hexdigest()

    @property
    def path(self) -> Path:
        return self._folder / f"{self.hash}{ENDING}"


@dataclass
class Checkpoint:
    """The progress of one training on disk.

    Args:
        state: all that decides how the training continues.
        start: its initial state; None keeps nothing.
        every_seconds: time between two checkpoints.
        may_resume: whether there can be a file to resume from.
        finished: the places of its end, if that is kept apart.
        goes_on: whether the training may go on after its end.
    """

    state: TrainingState
    start: _Start | None
    every_seconds: float
    may_resume: bool = False
    finished: tuple[Path, ...] = ()
    goes_on: bool = False

    def __post_init__(self) -> None:
        self._opened = self._written = perf_counter()

    def resume(self) -> dict[str, Any]:
        """Restore the state and return the notes that were written with it; {} if there is none."""
        if self.start is None or not self.may_resume:
            return {}
        present = filter(atomic.exists, (*self.finished, self.start.path))
        content = next(filter(None, map(_read_verified_content, present)), None)
        if content is None:
            return {}
        line, _, rest = content.partition(b"\n")
        header = json.loads(line)
        self.state.restore(tensors_from_bytes(rest), header["values"])
        notes: dict[str, Any] = header["notes"]
        return notes

    def is_due(self, ended: bool) -> bool:
        """Return whether it is time to write a checkpoint."""
        now = perf_counter()
        if self.start is None or (ended and now - self._opened < SHORT_SHARE * self.every_seconds):
            return False
        return ended or now - self._written >= self.every_seconds

    def write(self, notes: Mapping[str, Any]) -> None:
        """Write the present state.

        Args:
            notes: plain values to keep with it: steps done, whether the training has ended, cost.
        """
        if self.start is None:
            return
        tensors, values = self.state.snapshot()
        if notes["ended"] and not self.goes_on:
            # The optimizer state, two thirds of the file, is not needed any more.
            tensors = {
                name: tensor
                for name, tensor in tensors.items()
                if not name.startswith("optimizer ")
            }
        header = json.dumps({"notes": dict(notes), "values": values}).encode()
        content = header + b"\n" + tensors_to_bytes(tensors)
        path = self.finished[0] if self.finished and notes["ended"] else self.start.path
        atomic.write(path, checksum(content).encode() + b"\n" + content)
        self._written = perf_counter()


def _read_verified_content(path: Path) -> bytes | None:
    """Return the content without its checksum; None, and set the file aside, if they disagree."""
    stated, _, content = atomic.read(path).partition(b"\n")
    if checksum(content).encode() == stated:
        return content
    atomic.set_aside(path, "its checksum does not agree with its content", "trained again")
    return None

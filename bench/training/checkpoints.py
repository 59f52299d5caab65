"""A training that was killed goes on from its last checkpoint, and ends as if nothing had happened.

A training is a function of what it begins with: the network, the random streams, and what its
callbacks carry. Its checkpoint is found by the hash of all that. So a job that is run again needs
no memory of how far it was: it makes the same moves, and takes over every training on its way that
has a checkpoint, whole or from the middle.

    FOLDER/numbers.json        what a method asked to be remembered, with its cost: the losses of a search
    FOLDER/HASH.checkpoint     its checksum; a line of JSON: steps done, what was spent; a safetensors file: network, optimizer, streams

A checkpoint is written a while after the last one, at the end of a training that took long enough,
and on an interruption. A damaged one is set aside, and the training begins anew. On a CPU with the
same number of threads the result is the same, bit for bit.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from bench.errors import PluginError
from bench.files import atomic, checked_json
from bench.files.hashing import checksum
from bench.files.tensors import tensors_from_bytes, tensors_to_bytes

EVERY_SECONDS = 60.0
SHORT_SHARE = 0.1  # of that time: a training which took less is not worth its file
ENDING, NUMBERS = ".checkpoint", "numbers.json"
FORM = 1  # of the numbers; raise it when programs from before could not read them


class Stateful(Protocol):
    """What a callback may carry: a flat state of tensors and plain values."""

    def state_dict(self) -> Mapping[str, Any]:
        """All that changes from step to step."""

    def load_state_dict(self, state: Any) -> Any:
        """Back to that."""


@dataclass
class State:
    """All that decides how a training goes on.

    Args:
        model: in training.
        optimizer: of its weights.
        draws: from which its batches come.
        callback_state: what the callbacks draw from or change (generators, lists, tensors, `Stateful`),
            and plain values that tell what they do.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    draws: Generator
    callback_state: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors on the CPU and plain values, by name."""
        device = next(self.model.parameters()).device
        found: dict[str, Any] = {
            f"model {name}": value for name, value in self.model.state_dict().items()
        }
        found |= {f"buffer {name}": value for name, value in self._unsaved_buffers().items()}
        for index, weight in enumerate(self._weights()):
            found |= {
                f"optimizer {index} {name}": value
                for name, value in self.optimizer.state.get(weight, {}).items()
            }
        found |= {
            "draws": self.draws.get_state(),
            "common": torch.get_rng_state(),
            "torch": str(torch.__version__),
            "device": device.type,
        }
        if device.type == "cuda":
            found["common cuda"] = torch.cuda.get_rng_state(device)
        for name, one in self.callback_state.items():
            found |= {f"carried {name}/{key}": value for key, value in _state_of(one).items()}
        tensors = {
            name: _plain(value) for name, value in found.items() if isinstance(value, Tensor)
        }
        return tensors, {
            name: value for name, value in found.items() if not isinstance(value, Tensor)
        }

    def write(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Back to what was read."""
        found, place = {**tensors, **values}, len("model ")
        self.model.load_state_dict(
            {name[place:]: value for name, value in tensors.items() if name.startswith("model ")}
        )
        for name, buffer in self._unsaved_buffers().items():
            buffer.copy_(tensors[f"buffer {name}"])
        for index, weight in enumerate(self._weights()):
            kept = _below(found, f"optimizer {index} ")
            if kept:
                self.optimizer.state[weight] = {
                    name: _like(weight, value) for name, value in kept.items()
                }
        self.draws.set_state(tensors["draws"])
        torch.set_rng_state(tensors["common"])
        if "common cuda" in tensors:
            torch.cuda.set_rng_state(tensors["common cuda"], next(self.model.parameters()).device)
        for name, one in self.callback_state.items():
            _restore(one, _below(found, f"carried {name}/"))

    def _unsaved_buffers(self) -> dict[str, Tensor]:
        """Those that a network keeps out of its state_dict."""
        saved = self.model.state_dict()
        return {name: buffer for name, buffer in self.model.named_buffers() if name not in saved}

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]


def _state_of(one: Any) -> Mapping[str, Any]:
    if isinstance(one, Generator):
        return {"state": one.get_state()}
    if isinstance(one, list):
        return {"items": list(one)}
    if isinstance(one, Tensor):
        return {"value": one}
    state: Mapping[str, Any] = one.state_dict() if hasattr(one, "state_dict") else {"value": one}
    return state


def _restore(one: Any, state: dict[str, Any]) -> None:
    if isinstance(one, Generator):
        one.set_state(state["state"])
    elif isinstance(one, list):
        one[:] = state["items"]
    elif isinstance(one, Tensor):
        one.copy_(state["value"])
    elif hasattr(one, "load_state_dict"):
        one.load_state_dict(state)


def _below(found: Mapping[str, Any], start: str) -> dict[str, Any]:
    return {
        name.removeprefix(start): value for name, value in found.items() if name.startswith(start)
    }


def _plain(value: Tensor) -> Tensor:
    """On the CPU, with memory of its own: what is carried may share that of the network."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _like(weight: Tensor, value: Tensor) -> Tensor:
    """Where the weight is, and in its layout where it has its shape: fused steps go through both side by side."""
    return (
        torch.empty_like(weight, requires_grad=False).copy_(value)
        if value.shape == weight.shape
        else value.to(weight.device)
    )


@dataclass(frozen=True)
class Checkpoints:
    """Where those of one job are.

    Args:
        folder: made when the first is written; None keeps nothing.
        every_seconds: between two of a training.
    """

    folder: Path | None = None
    every_seconds: float = EVERY_SECONDS

    def of(self, state: State, facts: Mapping[str, Any], resumable: bool) -> "Checkpoint":
        """That of the training which begins in this state; `facts` are plain values that tell what it does."""
        if self.folder is None or not resumable:
            return Checkpoint(state, None, self.every_seconds)
        return Checkpoint(state, self.folder / f"{_hash(state, facts)}{ENDING}", self.every_seconds)

    def numbers(self) -> dict[str, Any]:
        """What was remembered: name -> value and what was spent on it."""
        path = None if self.folder is None else self.folder / NUMBERS
        if path is None or not atomic.is_there(path):
            return {}
        try:
            return dict(checked_json.read(path, FORM)["numbers"])
        except ValueError as error:
            atomic.set_aside(path, str(error), "computed again")
            return {}

    def write_numbers(self, numbers: Mapping[str, Any]) -> None:
        """In place of those that were remembered before."""
        if self.folder is not None:
            checked_json.write(
                self.folder / NUMBERS, {"schema": FORM, "numbers": dict(numbers)}, indent=None
            )

    def forget(self) -> None:
        """Removes all: what they were for is stored.

        What cannot be removed, perhaps because another process just did, stays.
        """
        if self.folder is not None:
            rmtree(self.folder, ignore_errors=True)


NO_CHECKPOINTS = Checkpoints()


def _hash(state: State, facts: Mapping[str, Any]) -> str:
    tensors, values = state.read()
    try:
        whole = hashlib.sha256(json.dumps([dict(facts), values], sort_keys=True).encode())
    except (
        TypeError
    ) as error:  # said now: it could not be written either, after a minute of training
        raise PluginError(
            f"what a training carries must have a state, or be of plain values: {error}"
        ) from error
    for name, tensor in tensors.items():
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


@dataclass
class Checkpoint:
    """How far one training has come, on disk; nowhere without a path."""

    state: State
    path: Path | None
    every_seconds: float

    def __post_init__(self) -> None:
        self._begun = self._written = perf_counter()

    def resume(self) -> dict[str, Any]:
        """Puts the state back, and returns what was noted with it; nothing if there is no checkpoint."""
        content = None if self.path is None or not atomic.is_there(self.path) else _whole(self.path)
        if content is None:
            return {}
        line, _, rest = content.partition(b"\n")
        noted = json.loads(line)
        self.state.write(tensors_from_bytes(rest), noted["values"])
        notes: dict[str, Any] = noted["notes"]
        return notes

    def due(self, ended: bool) -> bool:
        """Whether it is time to write one."""
        now = perf_counter()
        if self.path is None or (ended and now - self._begun < SHORT_SHARE * self.every_seconds):
            return False
        return ended or now - self._written >= self.every_seconds

    def write(self, notes: Mapping[str, Any]) -> None:
        """Keeps the state as it is now, and plain values with it: how many steps are done, whether it has ended, what was spent."""
        if self.path is None:
            return
        tensors, values = self.state.read()
        if notes["ended"]:  # nobody goes on with the optimizer: two thirds of all
            tensors = {
                name: tensor
                for name, tensor in tensors.items()
                if not name.startswith("optimizer ")
            }
        content = (
            json.dumps({"notes": dict(notes), "values": values}).encode()
            + b"\n"
            + tensors_to_bytes(tensors)
        )
        atomic.write(self.path, checksum(content).encode() + b"\n" + content)
        self._written = perf_counter()


def _whole(path: Path) -> bytes | None:
    """What was written there, less its checksum; nothing if they disagree."""
    stated, _, content = atomic.read(path).partition(b"\n")
    if checksum(content).encode() == stated:
        return content
    atomic.set_aside(path, "its checksum does not agree with its content", "trained again")
    return None

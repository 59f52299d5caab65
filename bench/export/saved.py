"""Networks on disk, without pickle: how to rebuild them (spec.json) and their weights (weights.safetensors).

    from bench.export.saved import load
    model = load("results/runs/table1/models/KEY")

A pruned network is rebuilt as it was made: the task builds the unpruned backbone, compactors go in
by name, surgery keeps the named channels, and the weights are filled in. One whose backbone is a
file of the user's own is written down operator by operator (bench.export) instead: no file is run
to load it. Any disagreement of names or shapes is an error.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from bench.contract import Inputs, Kept, Task
from bench.errors import BenchError, ConfigError, PluginError
from bench.export import bundle as described_folder
from bench.export.graph_spec import described
from bench.files.schema import check_fields
from bench.files.tensors import tensors_from_bytes, tensors_to_bytes, weights_of
from bench.plugins.backbones import build_installed
from bench.plugins.network_file import is_own
from bench.plugins.options import configured
from bench.plugins.registry import TASKS
from bench.surgery.compactors import insert
from bench.surgery.remove import remove_channels

SPEC, WEIGHTS = described_folder.SPEC, described_folder.WEIGHTS
OF_A_BACKBONE = {"task", "task_options", "backbone", "backbone_options", "kept", "inserted"}
TRACED_PIXELS = 64


class Spec(TypedDict, total=False):
    """What spec.json says of a backbone."""

    task: str
    task_options: Mapping[str, Any]
    backbone: str
    backbone_options: Mapping[str, Any]
    kept: Mapping[str, list[int]]
    inserted: list[str]


def save(
    folder: str | Path,
    model: nn.Module,
    *,
    task: str,
    task_options: Mapping[str, Any],
    backbone: str,
    backbone_options: Mapping[str, Any],
    kept: Kept,
    inserted: Sequence[str],
) -> None:
    """Writes the network and all that rebuilds it.

    Args:
        folder: is made.
        model: the pruned network.
        task, task_options, backbone, backbone_options: what builds the unpruned one.
        kept: unit -> kept channels, in its numbering.
        inserted: values with a compactor.

    Raises:
        PluginError: `kept` and `inserted` do not describe this network.
        ConfigError: the backbone is a file, and its network cannot be written down.
    """
    if is_own(
        backbone
    ):  # which is not run again here: `check_kept` is for who has the unpruned network
        save_graph(folder, model)
        return
    spec = {
        "task": task,
        "task_options": dict(task_options),
        "backbone": backbone,
        "backbone_options": dict(backbone_options),
        "kept": {unit: [int(index) for index in indices] for unit, indices in kept.items()},
        "inserted": list(inserted),
    }
    _check(model, lambda: skeleton(spec))
    described_folder.write(Path(folder), spec, tensors_to_bytes(weights_of(model)))


def save_graph(folder: str | Path, model: nn.Module, lean_at: Inputs | None = None) -> None:
    """Writes any network whose operators can be written down, whatever built it; `lean_at` an input, it is lean when it is read.

    Raises:
        ConfigError: an operator cannot be written down.
    """
    described_folder.save(folder, model, lean_at)


def check_savable(name: str, model: nn.Module) -> None:
    """Raises ConfigError, with the name, if `save_graph` would."""
    try:
        described(model)
    except ConfigError as error:
        raise ConfigError(f"{name} could not be saved after pruning: {error}") from error


def check_kept(
    model: nn.Module, unpruned: nn.Module, kept: Kept, inserted: Sequence[str], channels: int
) -> None:
    """Raises PluginError if `kept` and `inserted` do not make the network `model` of `unpruned`, whose input has so many channels."""
    _check(model, lambda: _cut(deepcopy(unpruned), kept, inserted, channels))


def _check(model: nn.Module, remade: Callable[[], nn.Module]) -> None:
    try:
        difference = _difference(remade().state_dict(), model.state_dict())
    except BenchError as error:
        raise PluginError(
            f"the network cannot be rebuilt from its kept channels and compactors: {error}"
        ) from error
    if difference:
        raise PluginError(
            f"the network is not the backbone with these kept channels and compactors: {difference}"
        )


def load(folder: str | Path) -> nn.Module:
    """The network that was saved in `folder`, on the CPU, in eval mode.

    Raises:
        ConfigError: the folder has no saved network, or it is damaged.
    """
    spec, content = described_folder.read(Path(folder), OF_A_BACKBONE)
    if "graph" in spec:
        return described_folder.rebuild(Path(folder), spec, content)
    try:
        check_fields(Spec, spec)
        model = skeleton(spec)
    except (PluginError, ValueError) as error:
        raise ConfigError(f"{Path(folder) / SPEC} does not describe a network: {error}") from error
    try:
        weights = tensors_from_bytes(content)
    except ValueError as error:
        raise ConfigError(f"{Path(folder) / WEIGHTS} cannot be read: {error}") from error
    difference = _difference(model.state_dict(), weights)
    if difference:
        raise ConfigError(f"the weights in {folder} do not belong to its {SPEC}: {difference}")
    model.load_state_dict(weights)
    return model.eval()


def skeleton(spec: Mapping[str, Any]) -> nn.Module:
    """The network of a spec with arbitrary weights.

    What the spec names must be installed: no file is run.
    """
    task: Task = configured(TASKS.get(spec["task"]), spec["task_options"], f"task {spec['task']}")
    with torch.inference_mode(False):
        model = build_installed(task, spec["backbone"], spec["backbone_options"])
    return _cut(model, spec["kept"], spec["inserted"], task.measured_at[1])


def _cut(model: nn.Module, kept: Kept, inserted: Sequence[str], channels: int) -> nn.Module:
    """A network with these compactors and kept channels, in this order."""
    shape = (1, channels, TRACED_PIXELS, TRACED_PIXELS)
    with torch.inference_mode(False):  # surgery follows gradients
        if inserted:
            model = insert(model, inserted, shape)
        return remove_channels(model, kept, shape) if kept else model


def _difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The first disagreement of names or shapes, or nothing."""
    for name in [*wanted, *found]:
        shapes = [
            tuple(state[name].shape) if name in state else "nothing" for state in (wanted, found)
        ]
        if shapes[0] != shapes[1]:
            return f"{name} should be {shapes[0]}, is {shapes[1]}"
    return ""

"""Pruned networks on disk, without pickle: spec.json to rebuild them and weights.safetensors.

    from prunebench import load
    model = load("results/runs/table1/models/KEY")

A pruned network is rebuilt as it was made: the task builds the unpruned backbone, compactors are
inserted at the named values, surgery keeps the listed channels, and the weights are loaded. A
network whose backbone is a file of the user is described operator by operator instead
(`bench.export.bundle`), so that no file is run to load it. Any disagreement of names or shapes is
an error.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from bench.channels.written_form import write_out
from bench.contract import Inputs, Kept, Shape, Task
from bench.errors import BenchError, ConfigError, PluginError
from bench.export import bundle
from bench.export.graph_spec import describe_network
from bench.files.schema import check_fields
from bench.files.tensors import extract_weights, tensors_from_bytes, tensors_to_bytes
from bench.graph.meta_run import accepts
from bench.plugins.backbones import build_task_backbone
from bench.plugins.network_file import is_user_network
from bench.plugins.options import configure
from bench.plugins.registry import TASKS
from bench.surgery.compactors import insert_compactors
from bench.surgery.remove import remove_channels

SPEC, WEIGHTS = bundle.SPEC, bundle.WEIGHTS
BACKBONE_KEYS = {"task", "task_options", "backbone", "backbone_options", "kept", "inserted"}
# Height and width of inputs at which surgery traces a network; it may want a multiple of 3, 5 or 7.
TRACED_PIXELS = (64, 120, 112)


class Spec(TypedDict, total=False):
    """The keys of a spec.json that names a backbone."""

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
    is_rebuilt: bool = False,
) -> None:
    """Write a pruned network with all that is needed to rebuild it.

    Args:
        folder: is created.
        model: the pruned network.
        task: builds the unpruned network.
        task_options: of the task.
        backbone: the unpruned network.
        backbone_options: of the backbone.
        kept: unit -> kept channels, in the numbering of the unit.
        inserted: values that have a compactor.
        is_rebuilt: the network is a result of `rebuild`, so it need not be rebuilt to be checked.

    Raises:
        PluginError: `kept` and `inserted` do not describe this network (not checked for a file of
            the user).
        ConfigError: the backbone is a file, and its network cannot be described.
    """
    if is_user_network(backbone):
        # The user's file is not run here, so `kept` is not verified (`rebuild` verifies it).
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
    if not is_rebuilt:
        _rebuild(model, lambda: build_skeleton(spec))
    bundle.write_folder(Path(folder), spec, tensors_to_bytes(extract_weights(model)))


def save_graph(folder: str | Path, model: nn.Module, lean_at: Inputs | None = None) -> None:
    """Write a network operator by operator, whatever code built it.

    Args:
        folder: is created.
        model: in either mode; it is loaded in eval mode.
        lean_at: the input (N, C, H, W) for which the network is rewritten for the lean executor
            when it is loaded; None: it is not rewritten.

    Raises:
        ConfigError: an operator cannot be described.
    """
    bundle.save(folder, model, lean_at)


def check_savable(name: str, model: nn.Module) -> None:
    """Raise ConfigError with `name` in its message if `save_graph` could not write the network."""
    try:
        describe_network(model)
    except ConfigError as error:
        raise ConfigError(f"{name} could not be saved after pruning: {error}") from error


def rebuild(
    model: nn.Module, unpruned: nn.Module, kept: Kept, inserted: Sequence[str], shape: Shape
) -> nn.Module:
    """Return the network that `kept` and `inserted` make of another, with the weights of `model`.

    Args:
        model: the pruned network.
        unpruned: the network that it was made of, in the form that surgery can change
            (`bench.channels.written_form`); it stays as it is.
        kept: unit -> kept channels.
        inserted: values that have a compactor.
        shape: an (N, C, H, W) that the network accepts.

    Raises:
        PluginError: surgery refuses, or its names or shapes are not those of `model`.
    """
    return _rebuild(model, lambda: _apply_surgery(deepcopy(unpruned), kept, inserted, shape))


def _rebuild(model: nn.Module, build: Callable[[], nn.Module]) -> nn.Module:
    try:
        rebuilt = build()
    except BenchError as error:
        raise PluginError(
            f"the network cannot be rebuilt from its kept channels and compactors: {error}"
        ) from error
    weights = model.state_dict()
    if difference := _find_difference(rebuilt.state_dict(), weights):
        raise PluginError(
            f"the network is not the backbone with these kept channels and compactors: {difference}"
        )
    rebuilt.load_state_dict(weights)
    return rebuilt


def load(folder: str | Path) -> nn.Module:
    """Return the network that was saved in `folder`, on the CPU, in eval mode.

    Raises:
        ConfigError: the folder holds no saved network, or a damaged one.
    """
    spec, content = bundle.read_folder(Path(folder), BACKBONE_KEYS)
    if "graph" in spec:
        return bundle.rebuild_from_content(Path(folder), spec, content)
    try:
        check_fields(Spec, spec)
        model = build_skeleton(spec)
    except (PluginError, ValueError) as error:
        raise ConfigError(f"{Path(folder) / SPEC} does not describe a network: {error}") from error
    try:
        weights = tensors_from_bytes(content)
    except ValueError as error:
        raise ConfigError(f"{Path(folder) / WEIGHTS} cannot be read: {error}") from error
    difference = _find_difference(model.state_dict(), weights)
    if difference:
        raise ConfigError(f"the weights in {folder} do not belong to its {SPEC}: {difference}")
    model.load_state_dict(weights)
    return model.eval()


def build_skeleton(spec: Mapping[str, Any]) -> nn.Module:
    """Build the network of a spec with arbitrary weights.

    The task and the backbone of the spec must be installed: no file is run.
    """
    task: Task = configure(TASKS.get(spec["task"]), spec["task_options"], f"task {spec['task']}")
    with torch.inference_mode(False):
        model = build_task_backbone(task, spec["backbone"], spec["backbone_options"])
        if not spec["kept"] and not spec["inserted"]:
            return model
        shape = _choose_shape(model, task.measured_at[1])
        return _apply_surgery(write_out(model, shape), spec["kept"], spec["inserted"], shape)


def _apply_surgery(
    model: nn.Module, kept: Kept, inserted: Sequence[str], shape: Shape
) -> nn.Module:
    """Insert compactors, then remove all channels that are not kept."""
    if not kept and not inserted:
        return model
    with torch.inference_mode(False):  # surgery follows gradients
        if inserted:
            model = insert_compactors(model, inserted, shape)
        return remove_channels(model, kept, shape) if kept else model


def _choose_shape(model: nn.Module, channels: int) -> Shape:
    """Return the first shape of TRACED_PIXELS that a network accepts, or else the first."""
    shapes: list[Shape] = [(1, channels, pixels, pixels) for pixels in TRACED_PIXELS]
    return next((shape for shape in shapes if accepts(model, (shape,))), shapes[0])


def _find_difference(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> str:
    """Return the first disagreement of names or shapes in words, or an empty string."""
    for name in [*expected, *actual]:
        shapes = [
            tuple(state[name].shape) if name in state else "nothing" for state in (expected, actual)
        ]
        if shapes[0] != shapes[1]:
            return f"{name} should be {shapes[0]}, is {shapes[1]}"
    return ""

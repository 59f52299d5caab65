"""Networks on disk, without pickle: how to rebuild them (spec.json) and their weights (weights.safetensors).

    from bench.saved import load
    model = load("results/runs/table1/models/KEY")

A pruned network is rebuilt as it was made: the task builds the unpruned backbone, compactors go in by name, surgery keeps the
named channels, and the weights are filled in. Any disagreement of names or shapes is an error.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from
from safetensors.torch import save as bytes_of
from torch import Tensor, nn

from bench import atomic
from bench.contract import Kept, Task
from bench.errors import BenchError, ConfigError, PluginError
from bench.options import configured
from bench.registry import TASKS
from bench.surgery.channels import remove
from bench.surgery.compactors import insert

SPEC, WEIGHTS = "spec.json", "weights.safetensors"
TRACED_PIXELS = 64


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
    """
    spec = {
        "task": task,
        "task_options": dict(task_options),
        "backbone": backbone,
        "backbone_options": dict(backbone_options),
        "kept": {unit: [int(index) for index in indices] for unit, indices in kept.items()},
        "inserted": list(inserted),
    }
    weights = weights_of(model)
    try:
        difference = _difference(skeleton(spec).state_dict(), weights)
    except BenchError as error:
        raise PluginError(f"the network cannot be rebuilt from its kept channels and compactors: {error}") from error
    if difference:
        raise PluginError(f"the network is not the backbone with these kept channels and compactors: {difference}")
    content = bytes_of(weights)
    atomic.write(Path(folder) / WEIGHTS, content)
    atomic.write(Path(folder) / SPEC, json.dumps(spec | {"sha256": atomic.checksum(content)}, indent=1).encode())


def load(folder: str | Path) -> nn.Module:
    """The network that was saved in `folder`, on the CPU, in eval mode.

    Raises:
        ConfigError: the folder has no saved network, or it is damaged.
    """
    spec, content = _read(Path(folder))
    model = skeleton(spec)
    try:
        weights = tensors_from(content)
    except SafetensorError as error:
        raise ConfigError(f"{Path(folder) / WEIGHTS} cannot be read: {error}") from error
    difference = _difference(model.state_dict(), weights)
    if difference:
        raise ConfigError(f"the weights in {folder} do not belong to its {SPEC}: {difference}")
    model.load_state_dict(weights)
    return model.eval()


def skeleton(spec: Mapping[str, Any]) -> nn.Module:
    """The network of a spec with arbitrary weights."""
    task: Task = configured(TASKS.get(spec["task"]), spec["task_options"], f"task {spec['task']}")
    shape = (1, task.measured_at[1], TRACED_PIXELS, TRACED_PIXELS)
    with torch.inference_mode(False):  # surgery follows gradients
        model = task.build(spec["backbone"], **spec["backbone_options"])
        if spec["inserted"]:
            model = insert(model, spec["inserted"], shape)
        return remove(model, spec["kept"], shape) if spec["kept"] else model


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state as contiguous tensors on the CPU, fit for safetensors."""
    return {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    for name in (SPEC, WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} has no {name}, so it holds no saved network; give a folder that prunebench wrote")
    try:
        spec = json.loads((folder / SPEC).read_bytes())
        missing = {"task", "task_options", "backbone", "backbone_options", "kept", "inserted", "sha256"} - set(spec)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{folder / SPEC} is not a description of a network: {error}") from error
    content = (folder / WEIGHTS).read_bytes()
    if missing:
        raise ConfigError(f"{folder / SPEC} lacks {', '.join(sorted(missing))}")
    if atomic.checksum(content) != spec["sha256"]:
        raise ConfigError(f"{folder / WEIGHTS} is damaged: its checksum is not the one in {SPEC}; prune again")
    return spec, content


def _difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The first disagreement of names or shapes, or nothing."""
    for name in [*wanted, *found]:
        shapes = [tuple(state[name].shape) if name in state else "nothing" for state in (wanted, found)]
        if shapes[0] != shapes[1]:
            return f"{name} should be {shapes[0]}, is {shapes[1]}"
    return ""

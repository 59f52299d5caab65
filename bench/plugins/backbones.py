"""Backbones: which ones a task can use, which options they have, and how they are built.

    unet              a backbone of the task: the task builds it
    my_net.py:build   a network of the user: a Python file builds it (network_file.py), for any task
    my_net.pth        a checkpoint, also spandrel:my_net.pth (checkpoint.py), for tasks that it fits
    my_net            the same, registered by a plugin

A network file is run again whenever its network is built, in every process. Its content is part of
a cell's key (`source_hash`), its folder is not (`backbone_fields`).
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.contract import Task
from bench.errors import ConfigError
from bench.files.hashing import digest
from bench.files.tensors import tensors_to_bytes
from bench.plugins import network_file
from bench.plugins.checkpoint import is_checkpoint
from bench.plugins.network_file import file_path, is_network_file, is_user_network
from bench.plugins.registry import BACKBONES
from bench.records import Cell

SCALARS = (bool, int, float, str)  # types of defaults that can be stored in a cell


def backbone_names(task: Task | type[Task]) -> list[str]:
    """Return the names of a task's own backbones and of all registered ones."""
    return [*task.backbones, *BACKBONES.names()]


def has_backbone(task: Task | type[Task], backbone: str) -> bool:
    """Return whether a task can use a backbone."""
    return is_user_network(backbone) or backbone in task.backbones


def available_options(task: Task | type[Task], backbone: str) -> dict[str, Any]:
    """Return option -> default; the default of a required option is Parameter.empty.

    Raises:
        ConfigError: the file of the backbone cannot be used.
    """
    if is_user_network(backbone):
        return network_file.available_options(backbone)
    return task.options(backbone)


def complete_options(
    task: Task | type[Task], backbone: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of a cell: the given ones, and the defaults of all others.

    Of a user's network, only defaults that are scalars are included.

    Raises:
        ConfigError: the file of the backbone cannot be used.
    """
    defaults = available_options(task, backbone)
    if is_user_network(backbone):
        defaults = {
            name: default for name, default in defaults.items() if isinstance(default, SCALARS)
        }
    return defaults | dict(given)


def build(task: Task, backbone: str, given: Mapping[str, Any]) -> nn.Module:
    """Build a new network.

    A user's network is on the CPU and shares no tensors with objects that the file keeps.

    Raises:
        ConfigError: unknown backbone or option, or a file that cannot be used.
    """
    if not is_user_network(backbone):
        return build_task_backbone(task, backbone, given)
    model = network_file.load(backbone, given, task)
    try:
        return deepcopy(model).cpu()
    except Exception as error:
        raise ConfigError(f"{backbone} builds a network that cannot be copied: {error}") from error


def build_task_backbone(task: Task, backbone: str, given: Mapping[str, Any]) -> nn.Module:
    """Build a backbone of the task; never run a file: for names that come from a stored file.

    Raises:
        ConfigError: unknown backbone or option.
    """
    return task.build(backbone, **given)


def source_hash(backbone: str, given: Mapping[str, Any]) -> str:
    """Return a hash of a user's network: of its code, and of the weights that it reads from disk.

    The code is the file and the files in its folder that it imports. A weight is taken as read
    from disk if it is the same for two random seeds. The hash of a task's own backbone is "".

    Raises:
        ConfigError: the file cannot be used.
    """
    if not is_user_network(backbone):
        return ""
    if is_checkpoint(backbone):
        return network_file.source_hash(backbone)  # of the weights too
    first, second = (_seeded_state(backbone, given, seed) for seed in (0, 1))
    same = {
        name: weight
        for name, weight in first.items()
        if name in second and torch.equal(weight, second[name])
    }
    return digest([network_file.source_hash(backbone), sha256(tensors_to_bytes(same)).hexdigest()])


def _seeded_state(backbone: str, given: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    """Build a user's network under a random seed and return its tensors, on the CPU."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        state = network_file.load(backbone, given).state_dict()
    return {
        name: value.detach().cpu().clone().contiguous()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def backbone_fields(backbone: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a cell that name a backbone; for a network file also folder and hash.

    Raises:
        ConfigError: the file cannot be used.
    """
    if not is_user_network(backbone):
        return {"backbone": backbone}
    if not is_network_file(backbone):
        return {"backbone": backbone, "backbone_source": source_hash(backbone, given)}
    path = file_path(backbone).absolute()
    return {
        "backbone": path.name,
        "backbone_folder": str(path.parent),
        "backbone_source": source_hash(backbone, given),
    }


def build_for_cell(task: Task, cell: Cell) -> nn.Module:
    """Build a new network for a cell of the task.

    Raises:
        ConfigError: unknown backbone or option, or a file that cannot be used.
    """
    return build(task, str(Path(cell.backbone_folder, cell.backbone)), cell.backbone_options)


def initialise(model: nn.Module, generator: Generator) -> None:
    """Draw new weights in place for a user's network, also after surgery, by `reset_parameters`.

    Every module that has a method `reset_parameters` is reset by it, inner modules first, so that a
    class can override what its layers do. A weight whose module has no such method stays as it is.
    The rule of a task is made for the task's own backbones: with it, a small network with a global
    residual and BatchNorm lost 10 dB after 60 training steps and 2.7 dB after 400 (two seeds),
    compared with the initial weights of its file.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        for layer in reversed(list(model.modules())):
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()


def check_network_file(cell: Cell) -> None:
    """Raise ConfigError if the network file of a cell has changed since the cell was made."""
    path = str(Path(cell.backbone_folder, cell.backbone))
    if cell.backbone_source != source_hash(path, cell.backbone_options):
        raise ConfigError(
            f"{cell.backbone} in {cell.backbone_folder} was changed after the run began; "
            "start it again to use the new file"
        )


def safe_file_name(backbone: str) -> str:
    """Return a backbone as part of a file name: "nets/my_net.py:build" as "my_net-build"."""
    name = backbone
    if is_network_file(backbone):
        name = file_path(backbone).name.replace(f"{network_file.PYTHON_SUFFIX}:", "-")
    return re.sub(r"[^\w.-]", "_", name)

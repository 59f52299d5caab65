"""Backbones: the one place that knows which there are for a task, what may be set, and how one is built.

    unet              a task's own: the task builds it
    my_net.py:build   the user's own: a Python file builds it (network_file.py); it belongs to every task that it is asked for with
    my_net            the same, registered by a plugin

A network file is run anew wherever its network is built, in every process. What is in it is part of
the question (`source`), where it is is not (`placed`). What other packages might register is to be
known here too: in `names`, `options` and `build_installed`.
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
from bench.plugins.network_file import is_file, is_own
from bench.plugins.registry import BACKBONES
from bench.records import Cell

PLAIN = (bool, int, float, str)


def names(task: Task | type[Task]) -> list[str]:
    """The backbones that can be named without a file."""
    return [*task.backbones, *BACKBONES.names()]


def belongs(task: Task | type[Task], backbone: str) -> bool:
    """Whether a task can be asked for a backbone."""
    return is_own(backbone) or backbone in task.backbones


def options(task: Task | type[Task], backbone: str) -> dict[str, Any]:
    """What may be set, with its default, Parameter.empty where there is none.

    Raises ConfigError: a file that cannot be used.
    """
    return network_file.options(backbone) if is_own(backbone) else task.options(backbone)


def completed(task: Task | type[Task], backbone: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a question: the given ones and, of the others, the defaults that are plain values. Raises ConfigError as `options`."""
    if not is_own(backbone):
        return task.options(backbone) | dict(given)
    return {
        name: default
        for name, default in options(task, backbone).items()
        if isinstance(default, PLAIN)
    } | dict(given)


def build(task: Task, backbone: str, given: Mapping[str, Any]) -> nn.Module:
    """A new network; a file's on the CPU, sharing nothing with what the file keeps.

    Raises:
        ConfigError: unknown backbone or option; a file that cannot be used.
    """
    if not is_own(backbone):
        return build_installed(task, backbone, given)
    model = network_file.load(backbone, given)
    try:
        return deepcopy(model).cpu()
    except Exception as error:
        raise ConfigError(f"{backbone} builds a network that cannot be copied: {error}") from error


def build_installed(task: Task, backbone: str, given: Mapping[str, Any]) -> nn.Module:
    """A task's own, and no file is ever run: for names that come from a stored file.

    Raises ConfigError as `build`.
    """
    return task.build(backbone, **given)


def source(backbone: str, given: Mapping[str, Any]) -> str:
    """Hash of a network file: its code, with that of the files beside it that it imports, and the weights that it brings along.

    A weight is brought along, read from somewhere, if it is the same whatever the random seed. ""
    for a task's own backbone.

    Raises:
        ConfigError: the file cannot be used.
    """
    if not is_own(backbone):
        return ""
    first, second = (_seeded_state(backbone, given, seed) for seed in (0, 1))
    same = {
        name: weight
        for name, weight in first.items()
        if name in second and torch.equal(weight, second[name])
    }
    return digest([network_file.source(backbone), sha256(tensors_to_bytes(same)).hexdigest()])


def _seeded_state(backbone: str, given: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        state = network_file.load(backbone, given).state_dict()
    return {
        name: value.detach().cpu().clone().contiguous()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def placed(backbone: str, given: Mapping[str, Any]) -> dict[str, str]:
    """A backbone as the fields of a cell: its name without the folder, the folder, the hash of its file. Raises ConfigError as `source`."""
    if not is_own(backbone):
        return {"backbone": backbone}
    if not is_file(backbone):
        return {"backbone": backbone, "backbone_source": source(backbone, given)}
    path = Path(backbone).absolute()
    return {
        "backbone": path.name,
        "backbone_folder": str(path.parent),
        "backbone_source": source(backbone, given),
    }


def of_cell(task: Task, cell: Cell) -> nn.Module:
    """A new network for a cell of the task. Raises ConfigError as `build`."""
    return build(task, str(Path(cell.backbone_folder, cell.backbone)), cell.backbone_options)


def initialise(model: nn.Module, generator: Generator) -> None:
    """New weights in place for a network of the user's own, also after surgery: each layer's by its `reset_parameters`, as it was made.

    A task's rule is made for its own backbones: a small network with a global residual and
    BatchNorm lost 10 dB by it after 60 steps, and 2.7 dB after 400 (two seeds), against what its
    file begins with. A class has the last word over its layers if it defines `reset_parameters`; a
    weight whose module has none stays as it is.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        for layer in reversed(list(model.modules())):
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()


def check_unchanged(cell: Cell) -> None:
    """Raises ConfigError if the network file of a cell is another one than when the cell was asked."""
    if cell.backbone_source != source(
        str(Path(cell.backbone_folder, cell.backbone)), cell.backbone_options
    ):
        raise ConfigError(
            f"{cell.backbone} in {cell.backbone_folder} was changed after the run began; start it again to ask anew"
        )


def name_for_files(backbone: str) -> str:
    """A backbone as a part of the name of a file or a folder: "nets/my_net.py:build" as "my_net-build"."""
    name = (
        Path(backbone).name.replace(f"{network_file.ENDING}:", "-")
        if is_file(backbone)
        else backbone
    )
    return re.sub(r"[^\w.-]", "_", name)

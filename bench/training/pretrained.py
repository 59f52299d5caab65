"""The unpruned network of (task, backbone, recipe, seed, data): trained once, shared by all methods, kept on disk.

Its key covers what decides its weights: task and backbone with their options, the pretraining part
of the recipe, the seed, the data. A network is looked for in the study's own folder, then among
those that come with the package, and trained if it is in neither. A network of the user's own is
trained from the weights that its file builds, by the seed where they are random; with no
pretraining steps it is taken as it is. The hash of its file is part of the key. KEY.safetensors
holds the weights, KEY.json beside it the recipe, the checksums of both, and the calibration loss
along the way. A file that does not match its checksum is set aside and made again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Task
from bench.errors import ConfigError
from bench.files import atomic, checked_json
from bench.files.hashing import checksum, digest
from bench.files.log import LOG
from bench.files.tensors import tensors_from_bytes, tensors_to_bytes, weights_of
from bench.plugins.backbones import check_unchanged, of_cell
from bench.records import SCHEMA, Cell
from bench.training.checkpoints import EVERY_SECONDS, Checkpoints
from bench.training.trainer import OnStep, TaskTrainer, derived_seed

PACKAGED = Path(__file__).parent.parent / "pretrained_networks"
CURVE_POINTS = 10
PRETRAINING = ("patch", "batch", "pretrain_steps", "pretrain_rate", "pretrain_drops")


def question(cell: Cell) -> dict[str, Any]:
    """What decides the unpruned network of a cell."""
    return {
        "schema": SCHEMA,
        "task": cell.task,
        "task_options": dict(cell.task_options),
        "backbone": cell.backbone,
        "backbone_options": dict(cell.backbone_options),
        "recipe": {name: getattr(cell.recipe, name) for name in PRETRAINING},
        "seed": cell.seed,
        "data_fingerprint": cell.data_fingerprint,
    } | ({"backbone_source": cell.backbone_source} if cell.backbone_source else {})


def pretrained_key(cell: Cell) -> str:
    """Names the unpruned network of a cell."""
    return digest(question(cell))


def pretrained(
    task: Task,
    cell: Cell,
    folders: Sequence[Path],
    device: str = "cpu",
    progress: OnStep | None = None,
    checkpoint_seconds: float = EVERY_SECONDS,
) -> nn.Module:
    """The unpruned network of a cell, on the CPU, in eval mode.

    Args:
        task: the cell's task.
        cell: says which backbone, recipe, seed and data.
        folders: where to look, in this order; a trained one is written to the first.
        device: on which it is trained if it must be.
        progress: called with (phase, steps done, steps).
        checkpoint_seconds: between two checkpoints of its training, which are beside it until it is
            done.
    """
    check_unchanged(cell)
    found = find(cell, folders)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(
            derived_seed(cell.seed, "initialise")
        )  # a network file draws its weights where it likes
        model = of_cell(task, cell)
    if found is not None:
        model.load_state_dict(_tensors(found, cell))
        return model.eval()
    checkpoints = Checkpoints(folders[0] / f"{pretrained_key(cell)}.training", checkpoint_seconds)
    curve, seconds = _train(model, task, cell, device, progress, checkpoints)
    model.cpu()
    _write(folders[0] / pretrained_key(cell), model, question(cell), curve, seconds, device)
    checkpoints.forget()
    return model.eval()


def _tensors(content: bytes, cell: Cell) -> dict[str, Tensor]:
    """Stored weights.

    Raises ConfigError if they are in another form, for example a pickle, which is never opened.
    """
    try:
        return tensors_from_bytes(content)
    except ValueError as error:
        raise ConfigError(
            f"the stored unpruned network {pretrained_key(cell)} is no safetensors file: {error}; remove it"
        ) from error


def find(cell: Cell, folders: Sequence[Path]) -> bytes | None:
    """The stored weights of a cell's unpruned network, if they are there and whole."""
    for place in folders:
        weights, sidecar = (
            place / f"{pretrained_key(cell)}.{ending}" for ending in ("safetensors", "json")
        )
        if not atomic.is_there(weights):
            continue
        content, damaged = atomic.read(weights), sidecar
        try:
            stated = (
                checked_json.read(sidecar, SCHEMA).get("sha256")
                if atomic.is_there(sidecar)
                else None
            )
            damaged, why = weights, f"its checksum is not the one in {sidecar.name}"
            if checksum(content) == stated:
                return content
        except ValueError as error:
            why = str(error)
        if place == PACKAGED:
            LOG.warning("%s is damaged (%s); the network is trained again", damaged, why)
        else:
            atomic.set_aside(damaged, why)
    return None


def _train(
    model: nn.Module,
    task: Task,
    cell: Cell,
    device: str,
    progress: OnStep | None,
    checkpoints: Checkpoints,
) -> tuple[list[tuple[int, float]], float]:
    """Initialises a task's own network and trains in place; returns (step, calibration loss) along the way, and the seconds it took."""
    trainer = TaskTrainer(
        task,
        cell.data,
        cell.recipe,
        cell.seed,
        device,
        progress,
        stream="pretrain",
        checkpoints=checkpoints,
    )
    if not cell.backbone_source:
        trainer.reinitialise(model)
    steps, curve = cell.recipe.pretrain_steps, list[tuple[int, float]]()

    def look(index: int, rate: float) -> None:
        if (index + 1) % max(1, steps // CURVE_POINTS) == 0 or index + 1 == steps:
            curve.append((index + 1, trainer.loss(model)))

    trainer.fit(model, steps, phase="pretrain", after_step=look, callback_state={"curve": curve})
    return curve, sum(trainer.meter.spent().seconds.values())


def _write(
    stem: Path,
    model: nn.Module,
    asked: Mapping[str, Any],
    curve: list[tuple[int, float]],
    seconds: float,
    device: str,
) -> None:
    content = tensors_to_bytes(weights_of(model))
    sidecar = {
        "schema": SCHEMA,
        "question": dict(asked),
        "sha256": checksum(content),
        "calibration_loss": [{"step": step, "loss": loss} for step, loss in curve],
        "seconds": seconds,
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
    checked_json.write(stem.with_suffix(".json"), sidecar)
    atomic.write(
        stem.with_suffix(".safetensors"), content
    )  # last: without them there is no network, so a kill leaves none that is half

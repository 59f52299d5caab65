"""Unpruned networks, one for each (task, backbone, recipe, seed, data), shared by all methods.

The key covers all that decides the weights: task and backbone with their options, the pretraining
part of the recipe, the seed, the data. A network is searched for in the study's own folder, then
among those that come with the package, and trained if neither has it. A user's own network is
trained from the weights that its file builds, by the seed where they are random; with no
pretraining steps it is taken as it is. The hash of its file is part of the key.

    KEY.safetensors     the weights
    KEY.json            recipe, checksums of both files, calibration loss during the training

A file that does not match its checksum is set aside and made again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Task
from bench.errors import ConfigError
from bench.files import atomic, checked_json
from bench.files.hashing import checksum, digest
from bench.files.log import LOG
from bench.files.tensors import extract_weights, tensors_from_bytes, tensors_to_bytes
from bench.plugins.backbones import build_for_cell, check_network_file
from bench.records import SCHEMA, Cell
from bench.training.checkpoints import CHECKPOINT_SECONDS, FINISHED_ENDING, Checkpoints
from bench.training.curves import Curve, append_points
from bench.training.seeds import derive_seed
from bench.training.trainer import OnStep, TaskTrainer

PACKAGED_NETWORKS = Path(__file__).parent.parent / "pretrained_networks"
PRETRAINING_FIELDS = (
    "patch",
    "batch",
    "pretrain_steps",
    "pretrain_rate",
    "pretrain_curve",
    "pretrain_halvings",
    "pretrain_warmup",
    "max_gradient_norm",
    "averaging",
    "training_precision",
)


def pretraining_inputs(cell: Cell) -> dict[str, Any]:
    """Return all that decides the weights of a cell's unpruned network."""
    inputs = {
        "schema": SCHEMA,
        "task": cell.task,
        "task_options": dict(cell.task_options),
        "backbone": cell.backbone,
        "backbone_options": dict(cell.backbone_options),
        "recipe": {
            name: value
            for name, value in cell.to_json()["recipe"].items()
            if name in PRETRAINING_FIELDS
        },
        "seed": cell.seed,
        "data_fingerprint": cell.data_fingerprint,
    }
    if cell.backbone_source:
        inputs["backbone_source"] = cell.backbone_source
    return inputs


def pretrained_key(cell: Cell) -> str:
    """Return the key of a cell's unpruned network."""
    return digest(pretraining_inputs(cell))


def pretraining_scope(cell: Cell) -> str:
    """Return the hash of what decides a method's own pretraining, besides its initial state.

    The options of a method and its code are part of it; what follows the pretraining is not.
    """
    own = (cell.method, dict(cell.method_options), cell.method_source)
    return digest([pretraining_inputs(cell), cell.recipe.calibration_crops, *own])


def has_pretraining(cell: Cell, folders: Sequence[Path]) -> bool:
    """Return whether a folder has a finished pretraining of a method's own."""
    pattern = f"{pretraining_scope(cell)}-*{FINISHED_ENDING}"
    return any(any(folder.glob(pattern)) for folder in folders)


def load_or_train(
    task: Task,
    cell: Cell,
    folders: Sequence[Path],
    *,
    device: str = "cpu",
    progress: OnStep | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> nn.Module:
    """Return the unpruned network of a cell, on the CPU, in eval mode; train it if none is stored.

    Args:
        task: the cell's task.
        cell: names backbone, recipe, seed and data.
        folders: searched in this order; a trained network is written to the first.
        device: where it is trained.
        progress: called with (phase, steps done, steps, training loss).
        checkpoint_seconds: time between two checkpoints of its training. They are beside the
            network and are deleted when it is trained.
    """
    check_network_file(cell)
    content = find_weights(cell, folders)
    with torch.random.fork_rng(devices=()):
        # A user's network file draws its weights from torch's own random numbers.
        torch.manual_seed(derive_seed(cell.seed, "initialise"))
        model = build_for_cell(task, cell)
    if content is not None:
        model.load_state_dict(_parse_weights(content, cell))
        return model.eval()
    stem = folders[0] / pretrained_key(cell)
    checkpoints = Checkpoints(stem.with_name(f"{stem.name}.training"), checkpoint_seconds)
    trainer = TaskTrainer(
        task,
        cell.data,
        cell.recipe,
        cell.seed,
        device=device,
        progress=progress,
        stream="pretrain",
        checkpoints=checkpoints,
    )
    if not cell.backbone_source:
        trainer.reinitialise(model)
    curve = _train(trainer, model)
    _write_network(stem, model.cpu(), cell, trainer, curve, device=device)
    checkpoints.delete()
    return model.eval()


def _parse_weights(content: bytes, cell: Cell) -> dict[str, Tensor]:
    """Return stored weights by name.

    Raises ConfigError if they are in another form, for example a pickle, which is never opened.
    """
    try:
        return tensors_from_bytes(content)
    except ValueError as error:
        raise ConfigError(
            f"the stored unpruned network {pretrained_key(cell)} is no safetensors file: {error}; "
            "remove it"
        ) from error


def find_weights(cell: Cell, folders: Sequence[Path]) -> bytes | None:
    """Return the stored weights of a cell's unpruned network; None if no folder has them intact."""
    key = pretrained_key(cell)
    for folder in folders:
        weights = folder / f"{key}.safetensors"
        sidecar = folder / f"{key}.json"
        if not atomic.exists(weights):
            continue
        content = atomic.read(weights)
        damaged = sidecar
        try:
            fields = checked_json.read(sidecar, SCHEMA) if atomic.exists(sidecar) else {}
            damaged = weights
            reason = f"its checksum is not the one in {sidecar.name}"
            if checksum(content) == fields.get("sha256"):
                return content
        except ValueError as error:
            reason = str(error)
        if folder == PACKAGED_NETWORKS:
            LOG.warning("%s is damaged (%s); the network is trained again", damaged, reason)
        else:
            atomic.set_aside(damaged, reason)
    return None


def _train(trainer: TaskTrainer, model: nn.Module) -> Curve:
    """Pretrain a network in place and return (steps done, calibration loss) along the way."""
    steps = trainer.recipe.pretrain_steps
    curve: Curve = []
    trainer.fit(
        model,
        steps,
        phase="pretrain",
        after_step=append_points(curve, steps, lambda: trainer.loss(model)),
        callback_state={"curve": curve},
    )
    return curve


def _write_network(
    stem: Path,
    model: nn.Module,
    cell: Cell,
    trainer: TaskTrainer,
    curve: Curve,
    *,
    device: str,
) -> None:
    """Write KEY.json, then KEY.safetensors.

    Without the weights there is no network, so a kill in between leaves no half of one.
    """
    content = tensors_to_bytes(extract_weights(model))
    sidecar = {
        "schema": SCHEMA,
        "question": pretraining_inputs(cell),
        "sha256": checksum(content),
        "calibration_loss": [{"step": step, "loss": loss} for step, loss in curve],
        "seconds": sum(trainer.meter.cost().seconds.values()),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
    checked_json.write(stem.with_suffix(".json"), sidecar)
    atomic.write(stem.with_suffix(".safetensors"), content)

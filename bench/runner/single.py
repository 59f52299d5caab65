"""One method, one network, one budget: a study of two cells (unpruned, pruned) whose network is saved in a folder of its own.

It runs the same code as a study, so its numbers are those of a study. What it needed (unpruned
network, records) is kept, and a second call reuses it.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.errors import BenchError, ConfigError, Infeasible, PluginError
from bench.export import saved
from bench.files import checked_json
from bench.memory.profile import peak_memory
from bench.plugins.backbones import name_for_files, of_cell, options
from bench.plugins.options import assigned, cell_task
from bench.plugins.registry import METHODS
from bench.records import UNPRUNED, Cell, Record, refusal
from bench.runner.executors.serial import Serial
from bench.runner.progress import Progress
from bench.runner.run import run_study
from bench.study.catalogue import parted, task_class
from bench.study.store import Store
from bench.study.study import Study, load_study
from bench.units import format_mib


@dataclass(frozen=True)
class Wish:
    """What is to be pruned, by what, to what.

    Args:
        method, backbone, task: names; without a task, the first that has the backbone.
            "my_net.py:build" needs one.
        backbone_options: of the network.
        ratio: budget / unpruned peak; or None, and `peak_bytes` is the budget.
        data: "embedded" or a folder.
        seed, convention: as in a study.
        overrides: "KEY=VALUE", an option of the method, the backbone or the task, or any key of a
            study ("recipe.finetune_steps=50").
    """

    method: str
    backbone: str
    task: str | None
    backbone_options: Mapping[str, Any]
    ratio: float | None
    peak_bytes: int | None
    data: str
    seed: int
    convention: str
    overrides: Sequence[str] = ()


def study_of(wish: Wish) -> Study:
    """The study that asks for it. Raises ConfigError."""
    METHODS.get(wish.method)
    if wish.method == UNPRUNED:
        raise ConfigError(
            f"'{UNPRUNED}' is the reference and removes nothing; choose a method that prunes (prunebench list methods)"
        )
    task = task_class(wish.backbone, wish.task)
    of_method = {entry.name for entry in fields(METHODS.get(wish.method))}  # type: ignore[arg-type]
    task_options = {entry.name for entry in fields(task)}  # type: ignore[arg-type]
    places = set(options(task, wish.backbone)) | task_options - of_method
    overrides: list[str] = []
    elsewhere: dict[str, Any] = {}
    for text in wish.overrides:
        name = text.partition("=")[0].strip()
        if name in places:
            elsewhere |= assigned([text])
        else:
            overrides.append(text if "." in name else f"options.{wish.method}.{text}")
    of_task, of_backbone = parted(task, wish.backbone, elsewhere)
    asked = {
        "tasks": [{"task": task.name, **of_task}],
        "backbones": [{"backbone": wish.backbone, **wish.backbone_options, **of_backbone}],
        "methods": [UNPRUNED, wish.method],
        "data": wish.data,
        "seeds": [wish.seed],
        "convention": wish.convention,
    }
    first = _loaded(asked | {"ratios": [wish.ratio if wish.ratio is not None else 1.0]}, overrides)
    return (
        first
        if wish.ratio is not None
        else _loaded(asked | {"ratios": [_ratio(first.cells()[0], wish)]}, overrides)
    )


def folder_name(backbone: str, method: str, budget: str) -> str:
    """What the folder of a pruned network is called by default: "unet-mosp-0.5", "my_net-build-mosp-6MiB"."""
    return f"{name_for_files(backbone)}-{method}-{budget}"


def _ratio(cell: Cell, wish: Wish) -> float:
    """The ratio whose budget is `peak_bytes`, to the byte.

    Raises ConfigError above the unpruned peak.
    """
    task = cell_task(cell)
    unpruned_bytes = peak_memory(of_cell(task, cell), cell.measured_at, cell.convention)
    peak_bytes = wish.peak_bytes or 0
    if not 0 < peak_bytes <= unpruned_bytes:
        raise ConfigError(
            f"a budget of {format_mib(peak_bytes)} is outside (0, {format_mib(unpruned_bytes)}], the peak of the unpruned network"
        )
    ratio = peak_bytes / unpruned_bytes
    while int(ratio * unpruned_bytes) < peak_bytes:
        ratio = math.nextafter(ratio, 2)
    return ratio


def _loaded(content: Mapping[str, Any], overrides: Sequence[str]) -> Study:
    """A study from a table of plain values, by way of a file, so that it is checked like any other."""
    lines = [f"{name} = {_toml(value)}" for name, value in content.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prune.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return load_study(path, overrides=overrides)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items())
            + "}"
        )
    return (
        "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)
    )


def prune_once(
    wish: Wish,
    folder: Path,
    work: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    time_limit_seconds: float | None = None,
) -> tuple[Record, Record]:
    """Prunes, saves the network in `folder`, and returns the records (unpruned, pruned).

    Args:
        wish: what to do.
        folder: gets spec.json, weights.safetensors and record.json.
        work: a run folder for what was needed on the way.
        device: on which networks are trained.
        progress: listens.
        time_limit_seconds: what the method and its finish may take.

    Raises:
        ConfigError: the wish cannot be understood.
        Infeasible: no network of the method's family fits.
        PluginError: the method failed.
    """
    asked: dict[str, Any] = {
        "device": device,
        "retry_failed": True,
        "time_limit_seconds": time_limit_seconds,
        "progress": progress,
    }
    records = run_study(study_of(wish), Store(work), Serial(), **asked)
    unpruned, pruned = records[0], records[-1]
    for record in (unpruned, pruned):
        if record.status != "done":
            raise _reason(record)
    cell = pruned.cell
    model = saved.load(Store(work).model_folder(pruned.key))
    place = {
        name: getattr(cell, name)
        for name in ("task", "task_options", "backbone", "backbone_options")
    }
    saved.save(folder, model, **place, kept=pruned.kept, inserted=pruned.inserted)
    checked_json.write(folder / "record.json", pruned.to_json())
    return unpruned, pruned


def _reason(record: Record) -> BenchError:
    return (Infeasible if record.status == "infeasible" else PluginError)(
        f"{record.cell.label} {refusal(record.status, record.phase, record.reason)}"
    )


def text(unpruned: Record, pruned: Record, folder: Path) -> str:
    """What became of it, for a person."""
    before, after = unpruned.means, pruned.means
    degraded = pruned.input_means
    return "\n".join(
        [
            f"budget        {format_mib(pruned.budget_bytes or 0)} ({pruned.cell.convention}, ratio {pruned.cell.ratio:g})",
            f"peak planned  {format_mib(unpruned.peak_bytes or 0)} -> {format_mib(pruned.peak_bytes or 0)} in {pruned.peak_step}",
            f"peak eager    {format_mib(unpruned.peak_bytes_eager or 0)} -> {format_mib(pruned.peak_bytes_eager or 0)}",
            f"parameters    {unpruned.parameters:,} -> {pruned.parameters:,}",
            f"PSNR          {before['psnr_db']:.2f} dB -> {after['psnr_db']:.2f} dB (without a network {degraded['psnr_db']:.2f} dB)",
            f"steps         {sum(pruned.steps.values()):,} after the pretraining of {pruned.cell.recipe.pretrain_steps:,}",
            f"saved in      {folder}",
            f"reload        from bench.export.saved import load; model = load({str(folder)!r})",
        ]
    )

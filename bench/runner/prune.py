"""Prune one network by one method to one budget, and save it in a folder.

This runs a study of two cells (unpruned, pruned), so its numbers are those of a study. The
unpruned network and the records are kept in a work folder, and a second call reuses them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.channels.written_form import write_out
from bench.contract import Task
from bench.errors import BenchError, ConfigError, Infeasible, PluginError
from bench.export import saved
from bench.files import checked_json
from bench.memory.least_peak import find_least_peak
from bench.memory.profile import OWN_CONVENTIONS, peak_memory
from bench.plugins.backbones import available_options, build_for_cell, safe_file_name
from bench.plugins.options import build_task, parse_assignments
from bench.plugins.registry import METHODS
from bench.records import UNPRUNED, Cell, Record, describe_outcome
from bench.runner.executors.processes import ProcessExecutor
from bench.runner.progress import Progress
from bench.runner.run import Executor, run_study
from bench.study.catalogue import find_task_class, split_options
from bench.study.store import Store
from bench.study.study import Study, study_from_values
from bench.surgery.compactors import insert_compactors, long_added_skips, long_skips
from bench.units import format_mib, format_shape

STUDY_NAME = "prune"


@dataclass(frozen=True)
class PruneRequest:
    """A network, a method and a budget.

    Args:
        method, backbone: names, or "my_net.py:build" for a backbone of the user.
        task: name; None for the first task that has the backbone. A backbone of the user needs it.
        backbone_options: options of the network.
        ratio: budget / unpruned peak; None if `peak_bytes` is the budget.
        peak_bytes: the budget in bytes; None if there is a ratio.
        data: "embedded" or a folder.
        seed, convention: as in a study.
        overrides: "KEY=VALUE": an option of the method, the backbone or the task, or a key of a
            study ("recipe.finetune_steps=50").
        measured_at: the input at which memory is counted, "1x3x256x256"; None for the task's own.
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
    measured_at: str | None = None


def build_study(request: PruneRequest) -> Study:
    """Return a study of two cells: the unpruned network, and the pruned one.

    Raises:
        ConfigError: the request names something unknown, or its budget is above the unpruned peak.
    """
    METHODS.get(request.method)
    if request.method == UNPRUNED:
        raise ConfigError(
            f"'{UNPRUNED}' is the reference and removes nothing; "
            "choose a method that prunes (prunebench list methods)"
        )
    task = find_task_class(request.backbone, request.task)
    network_overrides, study_overrides = _split_overrides(request, task)
    task_options, backbone_options = split_options(task, request.backbone, network_overrides)
    ratio = 1.0 if request.ratio is None else request.ratio
    values = {
        "tasks": [{"task": task.name, **task_options}],
        "backbones": [
            {"backbone": request.backbone, **request.backbone_options, **backbone_options}
        ],
        "methods": [UNPRUNED, request.method],
        "ratios": [ratio],
        "data": request.data,
        "seeds": [request.seed],
        "convention": request.convention,
    }
    if request.measured_at:
        values["measured_at"] = request.measured_at
    study = study_from_values(STUDY_NAME, values, study_overrides)
    if request.ratio is not None:
        return study
    values["ratios"] = [_exact_ratio(study.cells()[0], request.peak_bytes or 0)]
    return study_from_values(STUDY_NAME, values, study_overrides)


def _split_overrides(request: PruneRequest, task: type[Task]) -> tuple[dict[str, Any], list[str]]:
    """Return the options of backbone and task by name, and the other overrides as keys of a study.

    An option that both the method and the task have is given to the method.
    """
    method = METHODS.get(request.method)
    method_options = {field.name for field in fields(method)}  # type: ignore[arg-type]
    task_options = {field.name for field in fields(task)}  # type: ignore[arg-type]
    network_names = set(available_options(task, request.backbone)) | task_options - method_options
    network_overrides: dict[str, Any] = {}
    study_overrides: list[str] = []
    for text in request.overrides:
        name = text.partition("=")[0].strip()
        if name in network_names:
            network_overrides |= parse_assignments([text])
        else:
            study_overrides.append(text if "." in name else f"options.{request.method}.{text}")
    return network_overrides, study_overrides


def folder_name(backbone: str, method: str, budget: str) -> str:
    """Return the default folder name: "unet-mosp-0.5", "my_net-build-mosp-6MiB"."""
    return f"{safe_file_name(backbone)}-{method}-{budget}"


def _exact_ratio(cell: Cell, peak_bytes: int) -> float:
    """Return the ratio whose budget is `peak_bytes`, to the byte.

    Raises ConfigError if that is above the unpruned peak.
    """
    network = build_for_cell(build_task(cell), cell)
    unpruned_bytes = peak_memory(network, cell.measured_at, cell.convention)
    if not 0 < peak_bytes <= unpruned_bytes:
        raise ConfigError(
            f"a budget of {format_mib(peak_bytes)} is outside (0, {format_mib(unpruned_bytes)}], "
            "the peak of the unpruned network"
        )
    ratio = peak_bytes / unpruned_bytes
    while int(ratio * unpruned_bytes) < peak_bytes:
        ratio = math.nextafter(ratio, 2)
    return ratio


def _check_possible(cell: Cell) -> None:
    """Raise Infeasible, before anything is trained, if no channels can be left at the budget.

    Bytes are those of one channel in every unit, with compactors wherever a skip is long.
    """
    shape = cell.measured_at
    if cell.convention not in OWN_CONVENTIONS:
        return
    try:
        network = write_out(build_for_cell(build_task(cell), cell), shape)
        skips = [*long_skips(network, shape), *long_added_skips(network, shape)]
        forms = (network, insert_compactors(network, skips, shape)) if skips else (network,)
        least = min(find_least_peak(form, shape, cell.convention).bytes for form in forms)
    except ConfigError:  # it is told when the network is made for its data
        return
    budget_bytes = int(cell.ratio * peak_memory(network, shape, cell.convention))
    if budget_bytes < least:
        raise Infeasible(
            f"a peak of {format_mib(budget_bytes)} is not possible for {cell.backbone} at "
            f"{format_shape(shape)}; the least, with one channel in every unit, is "
            f"{format_mib(least)}",
            least,
        )


def prune_once(
    request: PruneRequest,
    folder: Path,
    work_folder: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    time_limit_seconds: float | None = None,
    executor: Executor | None = None,
) -> tuple[Record, Record]:
    """Prune, save the network in `folder` and return the records (unpruned, pruned).

    Args:
        request: what to prune, and how far.
        folder: receives spec.json, weights.safetensors and record.json.
        work_folder: run folder of the unpruned network and the records.
        device: device to train on.
        progress: is told about every step.
        time_limit_seconds: limit for the method and the training after it.
        executor: where the method runs; by default a process of its own.

    Raises:
        ConfigError: the request cannot be understood.
        Infeasible: no network that the method can make fits the budget.
        PluginError: the method failed.
    """
    store = Store(work_folder)
    study = build_study(request)
    _check_possible(study.cells()[1])
    records = run_study(
        study,
        store,
        executor or ProcessExecutor(1),
        device=device,
        retry_failed=True,
        time_limit_seconds=time_limit_seconds,
        progress=progress,
    )
    unpruned = records[0]
    pruned = records[-1]
    for record in (unpruned, pruned):
        if record.status != "done":
            raise _error_of(record)
    model = saved.load(store.model_folder(pruned.key))
    origin = pruned.cell.network_origin
    saved.save(folder, model, **origin, kept=pruned.kept, inserted=pruned.inserted)
    checked_json.write(folder / "record.json", pruned.to_json())
    return unpruned, pruned


def _error_of(record: Record) -> BenchError:
    """Return the error that tells why a record has no network."""
    kind = Infeasible if record.status == "infeasible" else PluginError
    outcome = describe_outcome(record.status, record.phase, record.reason)
    return kind(f"'{record.cell.label}' {outcome}")

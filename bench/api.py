"""For who has a network in Python: one network, one method, one budget, by the code that runs studies.

    >>> from torch import nn >>> from bench.api import prune >>> net = nn.Sequential(nn.Conv2d(3,
    16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1)) >>> short = {"patch": 32, "batch":
    2, "finetune_steps": 3}  # for a real run leave it out >>> result = prune(net, "global_l2", 0.5,
    "embedded", task="denoising", measured_at=(1, 3, 64, 64), recipe=short) >>>
    result.unpruned_peak_bytes, result.peak_bytes, result.steps (311296, 147456, {'finetune': 3})
    >>> result.model(net[0].weight.new_zeros(1, 3, 64, 64)).shape torch.Size([1, 3, 64, 64])

The network is taken as it is, as trained; it is neither pretrained nor changed. torch.fx must be
able to trace it. A method that begins from new weights gets those that the layers give themselves
(`reset_parameters`). The ruler alone is `bench.memory.profile`: `peak_memory(net, (1, 3, 64, 64))`
in bytes, `profile` step by step. `save(result, folder)` writes the pruned network so that
`bench.export.saved.load(folder)` has it again without the code of its class.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.contract import Budget, Convention, Kept, Method, Pruned, Recipe, Shape, Task
from bench.errors import ConfigError, PluginError
from bench.export import saved
from bench.memory.profile import peak_memory
from bench.plugins.backbones import initialise
from bench.plugins.options import configured
from bench.plugins.registry import METHODS, TASKS
from bench.runner.job import figures, finish
from bench.runner.referee import check_fits
from bench.study.study_file import checked_recipe
from bench.training.evaluation import evaluate, means
from bench.training.trainer import OnStep, Spent, TaskTrainer, chosen_device, derived_seed
from bench.units import shapes_of


@dataclass(frozen=True)
class Result:
    """A pruned and finished network, measured by the harness.

    Args:
        model: on the CPU, in eval mode.
        budget: what was asked, in bytes.
        peak_bytes, unpruned_peak_bytes: in the budget's convention, at its input.
        parameters: of the pruned network.
        kept: unit -> kept channels in the unpruned numbering; units that are not named keep all.
            inserted: values with a compactor.
        steps: training steps by phase, the method's own and those of the finish.
        scores, unpruned_scores: metric -> mean over the test photographs.
    """

    model: nn.Module
    budget: Budget
    peak_bytes: int
    unpruned_peak_bytes: int
    parameters: int
    kept: Kept
    inserted: tuple[str, ...]
    steps: Mapping[str, int]
    scores: Mapping[str, float]
    unpruned_scores: Mapping[str, float]


def prune(
    model: nn.Module,
    method: str | Method,
    budget: float | int | Budget,
    data: str | Path = "embedded",
    *,
    task: str | Task = "denoising",
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    measured_at: Shape | None = None,
    convention: Convention = "planned",
    seed: int = 0,
    device: str = "cpu",
    progress: OnStep | None = None,
) -> Result:
    """Prunes a copy of a network, finishes it as the method asks (by default fine-tuning), and tests it.

    Args:
        model: (N, 3, H, W) -> (N, 3, scale H, scale W), as its task wants it; left untouched.
        method: a name (`prunebench list methods`) or an instance of your own.
        budget: a float is a ratio, the share of the unpruned peak, in (0, 1]; an int is bytes; a
            Budget has its own input and convention.
        data: "embedded" or a folder of photographs that the task reads.
        task: a name or an instance, for a task with options: what is degraded and how it is scored.
        options: of a method that is named.
        recipe: what differs from the task's own: {"finetune_steps": 50}.
        measured_at: the input at which memory is counted, by default the task's.
        convention: "planned" or "eager".
        seed: from which all random streams are derived.
        device: "auto", "cpu", "cuda" or "mps": where networks are trained.
        progress: called with (phase, steps done, steps).

    Raises:
        ConfigError: something that was given cannot be used; the network does not fit the task or
            cannot be traced.
        Infeasible: no network of the method's family fits the budget.
        PluginError: the method broke the contract, or training diverged.
    """
    chosen = configured(TASKS.get(task), {}, f"task {task}") if isinstance(task, str) else task
    by, trained_by = (
        _method(method, options),
        replace(chosen.recipe, **checked_recipe(recipe or {})),
    )
    place = _Place(chosen, str(data), trained_by, seed, chosen_device(device), progress)
    model = deepcopy(model).cpu()
    with _as_in_a_study(trained_by, seed):
        crops = chosen.training_pairs(place.data).sample(
            trained_by.batch, trained_by.patch, torch.Generator().manual_seed(0)
        )
        check_fits(type(model).__name__, deepcopy(model), chosen, *crops)
        asked = _budget(model, budget, measured_at or chosen.measured_at, convention)
        pruned, spent = _pruned(place, model, by, asked)
        return _finished(place, model, by, asked, pruned, spent)


def save(result: Result, folder: str | Path) -> None:
    """Writes the network for `bench.export.saved.load`.

    Raises ConfigError: it uses what cannot be written down.
    """
    saved.save_graph(folder, result.model)


@dataclass(frozen=True)
class _Place:
    """Where and how networks are trained."""

    task: Task
    data: str
    recipe: Recipe
    seed: int
    device: str
    progress: OnStep | None

    def trainer(self, stream: str) -> TaskTrainer:
        return TaskTrainer(
            self.task,
            self.data,
            self.recipe,
            self.seed,
            self.device,
            self.progress,
            stream,
            initialise,
        )


@contextmanager
def _as_in_a_study(recipe: Recipe, seed: int) -> Iterator[None]:
    """Threads and torch's own random numbers as a study has them, and afterwards as they were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(derived_seed(seed, "torch"))
            yield
    finally:
        torch.set_num_threads(threads)


def _method(method: str | Method, options: Mapping[str, Any] | None) -> Method:
    if isinstance(method, str):
        return configured(METHODS.get(method), options or {}, f"method {method}")
    if options:
        raise ConfigError(
            f"options {', '.join(options)} are for a method that is named; this one is an instance and has its own"
        )
    return method


def _budget(
    model: nn.Module, budget: float | int | Budget, shape: Shape, convention: Convention
) -> Budget:
    if isinstance(budget, Budget):
        return budget
    peak_bytes = peak_memory(model, shape, convention)
    if isinstance(budget, float) and not 0 < budget <= 1:
        raise ConfigError(f"ratio {budget} is outside (0, 1]; give bytes as a whole number (int)")
    asked_bytes = int(budget * peak_bytes) if isinstance(budget, float) else budget
    if not 0 < asked_bytes <= peak_bytes:
        raise ConfigError(
            f"a budget of {asked_bytes} bytes is outside (0, {peak_bytes}], the peak of the unpruned network"
        )
    return Budget(asked_bytes, shape, convention)


def _pruned(
    place: _Place, model: nn.Module, method: Method, budget: Budget
) -> tuple[Pruned, Spent]:
    """What the method gives back, and what it spent."""
    trainer = place.trainer("method")
    root = trainer.prepare(deepcopy(model))
    torch.manual_seed(derived_seed(place.seed, "torch"))
    with trainer.branch(), trainer.count_calls(root), trainer.meter.during("search"):
        pruned = method.prune(root, budget, trainer)
        spent = trainer.meter.spent()
    if not isinstance(pruned, Pruned):
        raise PluginError(f"{_name(method)} gave back a {type(pruned).__name__}, not a Pruned")
    smaller = deepcopy(pruned.model).cpu()
    trainer.uncount(smaller)
    return replace(pruned, model=smaller), spent


def _finished(
    place: _Place, model: nn.Module, method: Method, budget: Budget, pruned: Pruned, spent: Spent
) -> Result:
    """Refereed, finished, tested."""
    smaller, finisher = pruned.model, place.trainer("finish")
    measured = figures(smaller, model, budget, pruned, _name(method), place.recipe.min_width)
    saved.check_kept(
        smaller, model, pruned.kept, pruned.inserted, shapes_of(budget.input_shape)[0][1]
    )
    finish(finisher, smaller, pruned, spent.steps)
    scores, unpruned_scores = (
        means(evaluate(place.task, one, place.data, place.device)) for one in (smaller, model)
    )
    return Result(
        model=smaller.cpu().to(memory_format=torch.contiguous_format).eval(),  # type: ignore[call-overload]
        budget=budget,
        peak_bytes=measured["peak_bytes" if budget.convention == "planned" else "peak_bytes_eager"],
        unpruned_peak_bytes=peak_memory(model, budget.input_shape, budget.convention),
        parameters=measured["parameters"],
        kept={unit: [int(index) for index in indices] for unit, indices in pruned.kept.items()},
        inserted=tuple(pruned.inserted),
        steps=dict((spent + finisher.meter.spent()).steps),
        scores=scores,
        unpruned_scores=unpruned_scores,
    )


def _name(method: Method) -> str:
    return getattr(method, "name", type(method).__name__)

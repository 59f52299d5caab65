"""Prune a network that you already have in Python: one network, one method, one budget.

The code is the same as for studies.

    >>> from torch import nn
    >>> from bench.api import prune
    >>> first = nn.Conv2d(3, 16, 3, padding=1)
    >>> net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    >>> short = {"patch": 32, "batch": 2, "finetune_steps": 3}  # leave it out for a real run
    >>> shape = (1, 3, 64, 64)
    >>> result = prune(net, "global_l2", 0.5, task="denoising", measured_at=shape, recipe=short)
    >>> result.unpruned_peak_bytes, result.peak_bytes, result.steps
    (311296, 147456, {'finetune': 3})
    >>> result.model(first.weight.new_zeros(shape)).shape
    torch.Size([1, 3, 64, 64])

The network is taken as it is, trained; it is neither pretrained nor changed. torch.fx must be able
to trace it. A method that starts from new weights gets those that the layers initialise themselves
with (`reset_parameters`). The memory model alone is `bench.memory.profile`: `peak_memory(net, (1,
3, 64, 64))` in bytes, `profile` step by step. `save(result, folder)` writes the pruned network so
that `bench.export.saved.load(folder)` loads it without the code of its class.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Budget, Convention, Inputs, Kept, Method, Pruned, Recipe, Shape, Task
from bench.errors import ConfigError, Infeasible, PluginError
from bench.export import saved
from bench.memory.profile import peak_memory
from bench.plugins.backbones import initialise
from bench.plugins.options import configure
from bench.plugins.registry import METHODS, TASKS
from bench.records import in_blocks
from bench.runner.finish import finish
from bench.runner.method_call import Findings, call_method, detach_result, number_channels
from bench.runner.plain_network import (
    budgeted_peak_bytes,
    make_probes,
    measure_pruned_network,
)
from bench.runner.referee import check_fits, write_out_for_task
from bench.study.study_file import parse_recipe
from bench.torch_state import choose_device
from bench.training.evaluation import evaluate, means
from bench.training.meter import Cost
from bench.training.seeds import derive_seed
from bench.training.trainer import OnStep, TaskTrainer


@dataclass(frozen=True)
class Result:
    """A pruned and finished network, measured by the harness.

    Args:
        model: on the CPU, in eval mode.
        budget: the budget that was asked for, in bytes.
        peak_bytes: in the budget's convention, at its input.
        unpruned_peak_bytes: the same of the unpruned network.
        parameters: of the pruned network.
        kept: unit -> kept channels in the unpruned numbering; a unit that is not named keeps all.
        inserted: values with a compactor.
        steps: training steps by phase, of the method and of the finish.
        scores: metric -> mean over the test photographs.
        unpruned_scores: the same of the unpruned network.
        findings: what the harness saw the method do beyond the rules, a sentence each.
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
    findings: tuple[str, ...] = ()


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
    """Prune a copy of a network, finish it as the method asks (by default fine-tune), and test it.

    Args:
        model: (N, 3, H, W) -> (N, 3, scale H, scale W), as the task needs it; not changed.
        method: a name (`prunebench list methods`) or an instance.
        budget: a float is a ratio, the share of the unpruned peak, in (0, 1]; an int is bytes; a
            Budget has its own input and convention.
        data: "embedded" or a folder of photographs that the task reads.
        task: how images are degraded and scored: a name, or an instance for a task with options.
        options: options of a method that is given by name.
        recipe: differences from the task's own recipe: {"finetune_steps": 50}.
        measured_at: the input at which memory is counted, by default the task's.
        convention: "planned", "eager", or a runtime whose memory plan counts ("executorch").
        seed: all random streams are derived from it.
        device: where networks are trained: "auto", "cpu", "cuda" or "mps".
        progress: called with (phase, steps done, steps, training loss).

    Raises:
        ConfigError: an argument cannot be used; the network does not fit the task or cannot be
            traced.
        Infeasible: no network of the method's family fits the budget.
        PluginError: the method broke the contract, or training diverged.
    """
    if isinstance(task, str):
        task = configure(TASKS.get(task), {}, f"task {task}")
    method = _configure_method(method, options)
    full_recipe = replace(task.recipe, **parse_recipe(recipe or {}))
    device = choose_device(device)
    model = deepcopy(model).cpu()
    with _study_conditions(full_recipe):
        crops = task.training_pairs(str(data)).sample(
            full_recipe.batch, full_recipe.patch, torch.Generator().manual_seed(0)
        )
        check_fits(type(model).__name__, deepcopy(model), task, *crops)
        shape = (
            budget.input_shape if isinstance(budget, Budget) else measured_at or task.measured_at
        )
        model = write_out_for_task(model, shape, task, str(data), crops[0])
        budget = _make_budget(model, budget, shape, convention, full_recipe.channel_multiple)
        full_recipe = replace(full_recipe, channel_multiple=budget.channel_multiple)
        experiment = _Experiment(
            model=model,
            method=method,
            budget=budget,
            task=task,
            data=str(data),
            recipe=full_recipe,
            seed=seed,
            device=device,
            progress=progress,
            probes=make_probes(task, crops[0]),
        )
        return _finish_and_evaluate(experiment, *_prune(experiment))


def save(result: Result, folder: str | Path) -> None:
    """Write the network in the form that `bench.export.saved.load` reads.

    Raises ConfigError if a part of it cannot be written.
    """
    saved.save_graph(folder, result.model)


@dataclass(frozen=True)
class _Experiment:
    """One network, method and budget, and how networks are trained."""

    model: nn.Module
    method: Method
    budget: Budget
    task: Task
    data: str
    recipe: Recipe
    seed: int
    device: str
    progress: OnStep | None
    probes: list[Tensor]

    @property
    def method_name(self) -> str:
        return getattr(self.method, "name", type(self.method).__name__)

    def make_trainer(self, stream: str, tuned: int = 0) -> TaskTrainer:
        return TaskTrainer(
            self.task,
            self.data,
            in_blocks(self.recipe),
            self.seed,
            device=self.device,
            progress=self.progress,
            stream=stream,
            initialise=initialise,
            tuned=tuned,
            teacher=self.model,
        )


@contextmanager
def _study_conditions(recipe: Recipe) -> Iterator[None]:
    """Use the threads of a study inside the block; restore them and torch's random numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        with torch.random.fork_rng(devices=()):
            yield
    finally:
        torch.set_num_threads(threads)


def _configure_method(method: str | Method, options: Mapping[str, Any] | None) -> Method:
    if isinstance(method, str):
        return configure(METHODS.get(method), options or {}, f"method {method}")
    if options:
        raise ConfigError(
            f"options {', '.join(options)} belong to a method given by name; "
            "set the options of an instance when you create it"
        )
    return method


def _make_budget(
    model: nn.Module,
    budget: float | int | Budget,
    shape: Inputs,
    convention: Convention,
    channel_multiple: int,
) -> Budget:
    if isinstance(budget, Budget):
        multiples = {budget.channel_multiple, channel_multiple} - {1}
        if len(multiples) > 1:
            raise ConfigError(
                f"the budget has channel_multiple = {budget.channel_multiple}, the recipe "
                f"{channel_multiple}; give one of them"
            )
        return replace(budget, channel_multiple=max(multiples, default=1))
    if isinstance(budget, bool) or not isinstance(budget, int | float):
        raise ConfigError(
            f"a budget of {budget!r}; give a share of the peak (float), bytes (int) or a Budget"
        )
    peak_bytes = peak_memory(model, shape, convention)
    if isinstance(budget, float) and not 0 < budget <= 1:
        raise ConfigError(f"ratio {budget} is outside (0, 1]; give bytes as a whole number (int)")
    budget_bytes = int(budget * peak_bytes) if isinstance(budget, float) else budget
    if not 0 < budget_bytes <= peak_bytes:
        raise ConfigError(
            f"a budget of {budget_bytes} bytes is outside (0, {peak_bytes}], "
            "the peak of the unpruned network"
        )
    return Budget(budget_bytes, shape, convention, channel_multiple)


def _prune(experiment: _Experiment) -> tuple[Pruned, Cost, Findings]:
    """Run the method; return its result, its cost, and what it did beyond the rules.

    A sweep of one budget, as in a study: the cost is read before the method ends a branch.
    """
    trainer = experiment.make_trainer("method")
    torch_seed = derive_seed(experiment.seed, "torch")
    passes = experiment.method.scoring_passes(experiment.recipe)
    with (
        call_method(experiment.model, trainer, torch_seed, passes) as call,
        trainer.meter.enter_phase("search"),
    ):
        budgets = [copy(experiment.budget)]
        items = iter(experiment.method.sweep(call.network, budgets, call.given_trainer))
        _, pruned = next(items, (experiment.budget, None))
        if isinstance(pruned, Pruned):
            pruned = detach_result(pruned, trainer)
        spent = trainer.meter.cost()
        findings = call.find()
        getattr(items, "close", lambda: None)()
    if isinstance(pruned, Infeasible):
        raise pruned
    if not isinstance(pruned, Pruned):
        raise PluginError(
            f"{experiment.method_name} gave back a {type(pruned).__name__}, not a Pruned"
        )
    return number_channels(pruned, experiment.model, experiment.budget), spent, findings


def _finish_and_evaluate(
    experiment: _Experiment, pruned: Pruned, spent: Cost, findings: Findings
) -> Result:
    """Check, finish and test a pruned network."""
    unpruned = experiment.model
    budget = experiment.budget
    model, fields = measure_pruned_network(
        pruned,
        unpruned,
        budget,
        experiment.probes,
        method=experiment.method_name,
        min_width=experiment.recipe.min_width,
    )
    finisher = experiment.make_trainer("finish", spent.tuning_steps)
    finish(finisher, replace(pruned, model=model))
    scores, unpruned_scores = (
        means(evaluate(experiment.task, network, experiment.data, experiment.device))
        for network in (model, unpruned)
    )
    contiguous = torch.contiguous_format
    return Result(
        model=model.cpu().to(memory_format=contiguous).eval(),  # type: ignore[call-overload]
        budget=budget,
        peak_bytes=budgeted_peak_bytes(fields, budget.convention),
        unpruned_peak_bytes=peak_memory(unpruned, budget.input_shape, budget.convention),
        parameters=fields["parameters"],
        kept={unit: [int(index) for index in indices] for unit, indices in pruned.kept.items()},
        inserted=tuple(pruned.inserted),
        steps=dict((spent + finisher.meter.cost()).steps),
        scores=scores,
        unpruned_scores=unpruned_scores,
        findings=findings.sentences(),
    )

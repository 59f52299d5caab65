"""Train the network of a way to fit, and test it as it is to be run."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from torch import Generator, nn

from bench import api
from bench.contract import Budget, Method, Recipe, Task
from bench.fit.quality import Judge
from bench.memory.profile import peak_memory
from bench.plugins.options import configure
from bench.plugins.registry import TASKS
from bench.runner.referee import check_fits
from bench.study.study_file import parse_recipe
from bench.tiling.network import InPrecision
from bench.training.evaluation import evaluate, means
from bench.training.trainer import OnStep, TaskTrainer


@dataclass(frozen=True)
class Training:
    """How a network is pruned and trained: the arguments of `bench.api.prune`."""

    method: str | Method
    options: Mapping[str, Any] | None
    data: str
    task: str | Task
    recipe: Mapping[str, Any] | None
    seed: int
    device: str
    progress: OnStep | None

    def make_judge(self, model: nn.Module) -> Judge:
        """Return the judge of networks, after a check that the unpruned one fits the task."""
        task = self.configure_task()
        recipe: Recipe = replace(task.recipe, **parse_recipe(self.recipe or {}))
        crops = task.training_pairs(self.data).sample(
            recipe.batch, recipe.patch, Generator().manual_seed(0)
        )
        check_fits(type(model).__name__, deepcopy(model), task, *crops)
        return Judge(TaskTrainer(task, self.data, recipe, self.seed))

    def configure_task(self) -> Task:
        """Return the task, with its own options if it is given by name."""
        if isinstance(self.task, Task):
            return self.task
        return configure(TASKS.get(self.task), {}, f"task {self.task}")

    def prune(self, model: nn.Module, ratio: float, budget: Budget) -> api.Result:
        """Prune a copy of a network to a share of its peak, and finish it.

        Args:
            model: the unpruned network.
            ratio: the share.
            budget: gives the shape and the convention.
        """
        whole = peak_memory(model, budget.input_shape, budget.convention)
        return api.prune(
            model,
            self.method,
            replace(budget, peak_bytes=int(ratio * whole)),
            self.data,
            task=self.task,
            options=self.options,
            recipe=self.recipe,
            seed=self.seed,
            device=self.device,
            progress=self.progress,
        )

    def test(self, runner: nn.Module) -> dict[str, float]:
        """Return metric -> mean over the test photographs, restored as the network is to be run."""
        return means(evaluate(self.configure_task(), InPrecision(runner), self.data))

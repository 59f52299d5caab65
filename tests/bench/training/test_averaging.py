"""Averaged weights: the recursion, the phases that have it, and nothing without it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.training.averaging import WeightAverage
from bench.training.checkpoints import Checkpoints
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, AnyScale, Tiny


class Killed(BaseException):
    """An exception that no code catches."""


def trainer(averaging: float, folder: Path | None = None) -> TaskTrainer:
    recipe = replace(RECIPE, averaging=averaging)
    return TaskTrainer(
        AnyScale(), "embedded", recipe, seed=3, checkpoints=Checkpoints(folder, every_seconds=0)
    )


def network() -> Tiny:
    torch.manual_seed(0)
    return Tiny(4)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def train(averaging: float, phase: Any, **options: Any) -> torch.Tensor:
    model = network()
    trainer(averaging).fit(model, 5, phase=phase, **options)
    return weights(model)


@pytest.mark.parametrize("phase", ["pretrain", "adapt", "finetune"])
def test_a_training_leaves_the_average_of_its_weights(phase: str) -> None:
    passed = [weights(network())]
    model = network()

    def note(index: int, rate: float) -> None:
        passed.append(weights(model))

    trainer(0.3).fit(model, 5, phase=phase, after_step=note)
    average = passed[0].double()
    for decay, present in zip((1 / 10, 2 / 11, 3 / 12, 0.3, 0.3), passed[1:], strict=True):
        average = decay * average + (1 - decay) * present
    assert torch.allclose(weights(model).double(), average, atol=1e-6)
    assert not torch.allclose(weights(model), passed[-1], atol=1e-6)


def test_the_training_itself_is_the_same() -> None:
    last = []
    for averaging in (0.0, 0.9):
        model = network()

        def note(index: int, rate: float, model: nn.Module = model) -> None:
            last.append(weights(model))

        trainer(averaging).fit(model, 5, phase="finetune", after_step=note)
    assert all(map(torch.equal, last[:5], last[5:]))


def test_a_search_is_not_averaged_and_a_method_may_decline() -> None:
    assert torch.equal(train(0.9, "search"), train(0.0, "search"))
    assert torch.equal(train(0.9, "adapt", averaged=False), train(0.0, "adapt"))


def test_floating_point_buffers_are_averaged_and_counters_are_not() -> None:
    layer = nn.BatchNorm2d(1)
    average = WeightAverage(layer, 0.5)
    with torch.no_grad():
        layer.running_mean.fill_(10.0)
        layer.num_batches_tracked.fill_(7)
    average.update()
    average.load_into_model()
    assert layer.running_mean.item() == pytest.approx(9.0)
    assert layer.num_batches_tracked.item() == 7


@pytest.fixture
def kill_before_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Each number in the list is a step of all trainings before which they are killed."""
    steps: list[int] = []
    taken = 0
    step = torch.optim.Adam.step

    def count(adam: torch.optim.Adam, *args: Any) -> Any:
        nonlocal taken
        if taken in steps:
            steps.remove(taken)
            raise Killed
        taken += 1
        return step(adam, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", count)
    yield steps


@pytest.mark.parametrize("killed_in", ["average", "next training"])
def test_a_killed_training_has_the_same_average(
    tmp_path: Path, kill_before_step: list[int], killed_in: str
) -> None:
    def work(folder: Path | None) -> torch.Tensor:
        model = network()
        used = trainer(0.9, folder)
        used.fit(model, 6, phase="adapt")
        used.fit(model, 3, phase="finetune")
        return weights(model)

    undisturbed = work(None)
    kill_before_step.append(9 + (4 if killed_in == "average" else 7))
    with pytest.raises(Killed):
        work(tmp_path)
    assert torch.equal(work(tmp_path), undisturbed) and not kill_before_step


def test_trainings_of_two_decays_have_their_own_checkpoints(tmp_path: Path) -> None:
    results = []
    for averaging in (0.9, 0.2, 0.0):
        model = network()
        trainer(averaging, tmp_path).fit(model, 6, phase="finetune")
        results.append(weights(model))
    assert not torch.equal(results[0], results[1]) and not torch.equal(results[1], results[2])

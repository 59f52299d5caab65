"""The contract: frozen values, the trainer without data, and the default sweep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, NoTrainer, Pruned, Recipe, TraceStep
from bench.errors import ConfigError, Infeasible

SHAPE = (1, 3, 16, 16)


class CountingTrainer(NoTrainer):
    """Logs when a branch begins and ends."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @contextmanager
    def branch(self) -> Iterator[None]:
        self.log.append("branch")
        yield
        self.log.append("reset")


@dataclass(frozen=True)
class Halving(Method):
    """Halves the weights of the network it is given; cannot go below 100 bytes."""

    paper = "none"
    log: list[str] = field(default_factory=list)

    def prune(self, model: nn.Module, budget: Budget, trainer: Any = NO_TRAINER) -> Pruned:
        self.log.append(f"prune {budget.peak_bytes}")
        if budget.peak_bytes < 100:
            raise Infeasible("no network fits; the least is 100 bytes", least_bytes=100)
        with torch.no_grad():
            next(model.parameters()).mul_(0.5)
        return Pruned(model)


def budgets(*sizes: int) -> Sequence[Budget]:
    return [Budget(size, SHAPE) for size in sizes]


@pytest.mark.parametrize(
    "value", [Budget(1, SHAPE), TraceStep(1, {}), Pruned(nn.Identity()), Recipe()]
)
def test_values_of_the_contract_are_frozen(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, next(iter(value.__dataclass_fields__)), None)


def test_the_trainer_without_data_says_that_data_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"needs data .*trainer\.loss.*pass trainer=\.\.\."):
        NO_TRAINER.loss(nn.Identity())


def test_the_trainer_without_data_has_a_recipe_a_seed_and_a_device() -> None:
    assert (NO_TRAINER.recipe, NO_TRAINER.seed, NO_TRAINER.device) == (
        Recipe(),
        0,
        torch.device("cpu"),
    )
    with NO_TRAINER.branch():
        pass


def test_a_sweep_yields_every_budget_once_and_the_largest_first() -> None:
    yielded = [
        budget.peak_bytes
        for budget, _ in Halving().sweep(nn.Conv2d(3, 3, 1), budgets(200, 400, 300))
    ]
    assert yielded == [400, 300, 200]


def test_an_infeasible_budget_does_not_stop_the_others() -> None:
    outcomes = {
        budget.peak_bytes: outcome
        for budget, outcome in Halving().sweep(nn.Conv2d(3, 3, 1), budgets(50, 200, 70))
    }
    assert isinstance(outcomes[200], Pruned)
    assert [outcomes[size].least_bytes for size in (50, 70)] == [100, 100]


def test_each_budget_of_a_sweep_starts_from_the_untouched_network() -> None:
    model = nn.Conv2d(3, 3, 1)
    before = model.weight.detach().clone()
    for _, pruned in Halving().sweep(model, budgets(200, 300)):
        assert torch.equal(pruned.model.weight, before * 0.5)
    assert torch.equal(model.weight, before)


def test_the_work_for_one_budget_is_reset_before_the_next() -> None:
    trainer = CountingTrainer()
    list(Halving(trainer.log).sweep(nn.Conv2d(3, 3, 1), budgets(200, 50), trainer))
    assert trainer.log == ["branch", "prune 200", "reset", "branch", "prune 50", "reset"]

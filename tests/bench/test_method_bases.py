"""The base classes of methods that share work between budgets."""

import pytest
from torch import nn

from bench.contract import NO_TRAINER, Budget, Pruned, Trainer
from bench.errors import Infeasible
from bench.method_bases import StagedMethod

BUDGETS = [Budget(size, (1, 3, 32, 32)) for size in (10, 30, 20)]


class Staged(StagedMethod[str]):
    """Fits `least` bytes; notes what it does."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.calls: list[str] = []

    def check_budget(self, model: nn.Module, budget: Budget, trainer: Trainer) -> None:
        if budget.peak_bytes < self.least:
            raise Infeasible(f"{budget.peak_bytes} bytes", self.least)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> str:
        self.calls.append("prepare")
        return "prepared"

    def cut(self, prepared: str, budget: Budget, trainer: Trainer) -> Pruned:
        self.calls.append(f"cut {budget.peak_bytes}")
        self.check_budget(nn.Identity(), budget, trainer)
        return Pruned(nn.Identity())


def sweep(method: Staged) -> list[str]:
    return [
        f"{budget.peak_bytes} {type(outcome).__name__}"
        for budget, outcome in method.sweep(nn.Identity(), BUDGETS, NO_TRAINER)
    ]


def test_a_staged_method_prepares_once_and_cuts_for_each_budget_largest_first() -> None:
    method = Staged(least=15)
    assert sweep(method) == ["30 Pruned", "20 Pruned", "10 Infeasible"]
    assert method.calls == ["prepare", "cut 30", "cut 20", "cut 10"]


def test_a_staged_method_prepares_nothing_if_no_budget_is_possible() -> None:
    method = Staged(least=40)
    assert sweep(method) == ["30 Infeasible", "20 Infeasible", "10 Infeasible"]
    with pytest.raises(Infeasible, match="30 bytes"):
        method.prune(nn.Identity(), BUDGETS[1])
    assert method.calls == []

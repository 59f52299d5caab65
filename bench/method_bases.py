"""Methods whose work serves several budgets: they are their sweep, and one budget is a sweep of one.

Most have two stages: work that serves every budget, done once, then a cut for each budget.

    prepared = prepare(model, shape, trainer)        one slimmable network, one lasso training, one pool of random networks, ...
    for each budget, largest first: cut(prepared, budget, trainer)

A cut must leave what was prepared as it is; what it draws and spends is forgotten before the next,
so a budget does not depend on the others.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Generic, TypeVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, Pruned, Trainer, largest_first
from bench.errors import Infeasible

Prepared = TypeVar("Prepared")


class SweepMethod(Method):
    """A method that is its sweep."""

    @abstractmethod
    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Every budget once, largest first.

        What is yielded for a budget does not depend on the other budgets.
        """

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """What a sweep of one budget yields. Raises Infeasible if no network of the family fits."""
        ((_, outcome),) = self.sweep(model, [budget], trainer)
        if isinstance(outcome, Infeasible):
            raise outcome
        return outcome


class StagedMethod(SweepMethod, Generic[Prepared]):
    """A method whose work before the first cut serves every budget."""

    @abstractmethod
    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Prepared:
        """The work that all budgets share.

        Args:
            model: may be changed.
            budget: any of those that will be asked: only its input shape and convention may be
                used.
            trainer: meters it.
        """

    @abstractmethod
    def cut(self, prepared: Prepared, budget: Budget, trainer: Trainer) -> Pruned:
        """The network for one budget. Raises Infeasible if no network of the family fits."""

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Every budget once, largest first, from one preparation."""
        prepared = self.prepare(deepcopy(model), budgets[0], trainer)
        for budget in largest_first(budgets):
            with trainer.branch():
                try:
                    outcome: Pruned | Infeasible = self.cut(prepared, budget, trainer)
                except Infeasible as impossible:
                    outcome = impossible
                yield budget, outcome

"""Base classes for methods that share work between budgets.

`SweepMethod` is for a method that implements `sweep`; it prunes for one budget by a sweep of one.
`StagedMethod` is for a method with two stages:

    prepared = prepare(model, budget, trainer)    once: a slimmable network, a lasso training, ...
    cut(prepared, budget, trainer)                for each budget, largest first

`cut` must not change what was prepared. What it draws and spends is reset before the next budget,
so that the result for a budget does not depend on the others. Where `check_budget` refuses every
budget, nothing is prepared.
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
    """A method that implements `sweep` instead of `prune`."""

    @abstractmethod
    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Yield (budget, result) for every budget, largest first.

        A result must not depend on the other budgets.
        """

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Return the result of a sweep of one budget; raise it if it is Infeasible."""
        ((_, outcome),) = self.sweep(model, [budget], trainer)
        if isinstance(outcome, Infeasible):
            raise outcome
        return outcome


class StagedMethod(SweepMethod, Generic[Prepared]):
    """A method that does most of its work once, for all budgets."""

    @abstractmethod
    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Prepared:
        """Do the work that all budgets share and return its result.

        Args:
            model: a copy that may be changed.
            budget: any one of the sweep; only its input shape and convention may be used.
            trainer: the trainer of the sweep.
        """

    def check_budget(self, model: nn.Module, budget: Budget, trainer: Trainer) -> None:
        """Raise Infeasible, before any work, if no network of the method's family fits.

        By default it raises nothing, and `cut` refuses.
        """

    @abstractmethod
    def cut(self, prepared: Prepared, budget: Budget, trainer: Trainer) -> Pruned:
        """Return the network for one budget; raise Infeasible if none fits."""

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Prepare once, then yield (budget, result of `cut`) for every budget, largest first."""
        refused = self._find_refused(model, budgets, trainer)
        if len(refused) == len(budgets):
            yield from refused
            return
        prepared = self.prepare(deepcopy(model), budgets[0], trainer)
        for budget in largest_first(budgets):
            with trainer.branch():
                try:
                    outcome: Pruned | Infeasible = self.cut(prepared, budget, trainer)
                except Infeasible as infeasible:
                    outcome = infeasible
                yield budget, outcome

    def _find_refused(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer
    ) -> list[tuple[Budget, Infeasible]]:
        """Return the budgets that `check_budget` refuses, largest first."""
        refused = []
        for budget in largest_first(budgets):
            try:
                self.check_budget(model, budget, trainer)
            except Infeasible as infeasible:
                refused.append((budget, infeasible))
        return refused

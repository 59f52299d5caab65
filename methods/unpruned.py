"""Unpruned: the reference method, which returns the network as it is if its peak fits the budget.

With `finetune` the network gets the same training after pretraining as a pruned one, which
separates the effect of pruning from that of further training.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, Pruned, Recipe, Trainer
from bench.memory.peak_model import infeasible_budget
from bench.memory.profile import peak_memory
from bench.plugins.registry import method


@method("unpruned")
@dataclass(frozen=True)
class Unpruned(Method):
    """Removes nothing.

    Args:
        finetune: let the harness fine-tune the network, as it does with pruned ones.
    """

    paper: ClassVar[str] = "none: the reference that every method starts from"
    finetune: bool = False

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps of fine-tuning, or 0 without it."""
        return recipe.tuning_steps if self.finetune else 0

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Return the network itself.

        Raises:
            Infeasible: its peak exceeds the budget.
        """
        peak_bytes = peak_memory(model, budget.input_shape, budget.convention)
        if peak_bytes > budget.peak_bytes:
            raise infeasible_budget(budget, peak_bytes)
        return Pruned(model, finish="finetune" if self.finetune else "none")

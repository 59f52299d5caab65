"""The neutral member: the network as it is. It fits any budget that its own peak fits.

With `finetune` it gets the same training after pretraining as a pruned network, which tells pruning
from further training.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, Pruned, Recipe, Trainer
from bench.memory.peak_model import impossible
from bench.memory.profile import peak_memory
from bench.plugins.registry import method


@method("unpruned")
@dataclass(frozen=True)
class Unpruned(Method):
    """Removes nothing.

    Args:
        finetune: let the harness train it on, as it does pruned networks.
    """

    paper: ClassVar[str] = "none: the reference that every method starts from"
    finetune: bool = False

    def expected_steps(self, recipe: Recipe) -> int:
        """None, or those of every pruned network."""
        return recipe.tuning_steps if self.finetune else 0

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """The network itself. Raises Infeasible if its peak exceeds the budget."""
        peak_bytes = peak_memory(model, budget.input_shape, budget.convention)
        if peak_bytes > budget.peak_bytes:
            raise impossible(budget, peak_bytes)
        return Pruned(model, finish="finetune" if self.finetune else "none")

"""The scores of Torch-Pruning at matched peak memory (Fang et al., DepGraph, CVPR 2023).

The importance of a channel is the library's own: magnitude, LAMP, FPGM, first-order Taylor, Hessian, random. The widths are ours: the same
share of every unit (quantum: one step of the uniform grid), as the library's pruners do by default, or one list over all units (quantum:
one channel), its `global_pruning`. So what people know from the library stands in the same table.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, Pruned, Trainer
from bench.registry import method
from bench.surgery.anatomy import anatomy
from bench.surgery.channels import remove
from bench.surgery.families import one_list_widths, uniform_widths
from bench.surgery.library_importance import library_scores


@method("torch_pruning")
@dataclass(frozen=True)
class TorchPruning(Method):
    """Torch-Pruning's importance, fitted by our ruler.

    Args:
        importance: which of the library's scores; "taylor" and "hessian" need data.
        ranking: "uniform" (the same share of every unit) or "global" (one list over all units).
    """

    paper: ClassVar[str] = "Fang et al., DepGraph: Towards Any Structural Pruning, CVPR 2023, and the papers of its scores"
    importance: Literal["magnitude", "lamp", "fpgm", "taylor", "hessian", "random"] = "magnitude"
    ranking: Literal["uniform", "global"] = "uniform"

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """The most important channels that fit. Raises Infeasible if the least widths do not."""
        body, needs_data = anatomy(model, budget), self.importance in ("taylor", "hessian")
        batches, criterion = (trainer.calibration, trainer.criterion) if needs_data else ((), nn.functional.l1_loss)
        scores = library_scores(deepcopy(model), body.layout, self.importance, batches, criterion, trainer.seed)
        uniform, least = self.ranking == "uniform", trainer.recipe.min_width
        kept = body.keep(scores, uniform_widths(body, budget, least) if uniform else one_list_widths(scores, body, budget, least))
        return Pruned(remove(model, kept, budget.input_shape, body.layout), kept=kept)

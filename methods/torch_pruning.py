"""The criteria of Torch-Pruning (Fang et al., DepGraph, CVPR 2023) at matched peak memory.

Scores are the library's own arithmetic (bench.surgery.torch_pruning_importance); widths are fitted
by our ruler, because the library aims at a share of the channels and not at bytes:

    uniform    every unit keeps the same share, the library's default      (quantum: one step of the uniform grid)
    global     one list of the scores of all units, which the library normalises within each unit      (quantum: one channel)
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from bench.contract import Budget, Pruned, Trainer
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyze_network
from bench.surgery.importance import Scores
from bench.surgery.remove import remove_channels
from bench.surgery.torch_pruning_importance import FROM_GRADIENTS, Library, library_scores
from bench.surgery.width_search import global_ranking_widths, uniform_widths


@dataclass(frozen=True)
class Scored:
    """A network, its units, and the scores of their channels."""

    network: nn.Module
    body: NetworkAnalysis
    scores: Scores


@method("torch_pruning")
@dataclass(frozen=True)
class TorchPruning(StagedMethod[Scored]):
    """Removes the channels that a criterion of the library calls the least important.

    Args:
        importance: the criterion.
        ranking: channels compete within their unit ("uniform") or all with each other ("global").
    """

    paper: ClassVar[str] = (
        "Fang et al., DepGraph: Towards Any Structural Pruning, CVPR 2023, and the library Torch-Pruning 1.6"
    )
    importance: Library = "magnitude"
    ranking: Literal["uniform", "global"] = "uniform"

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Scored:
        """The scores."""
        body, model = analyze_network(model, budget), model.to(trainer.device)
        data = (trainer.calibration, trainer.criterion) if self.importance in FROM_GRADIENTS else ()
        return Scored(
            model, body, library_scores(model, body.layout, self.importance, trainer.seed, *data)
        )

    def cut(self, prepared: Scored, budget: Budget, trainer: Trainer) -> Pruned:
        """The best channels that fit. Raises Infeasible if the least widths do not."""
        body, scores, floor = prepared.body, prepared.scores, trainer.recipe.min_width
        uniform = self.ranking == "uniform"
        widths = (
            uniform_widths(body, budget, floor)
            if uniform
            else global_ranking_widths(scores, body, budget, floor)
        )
        kept = body.keep(scores, widths)
        return Pruned(
            remove_channels(prepared.network, kept, budget.input_shape, body.layout), kept=kept
        )

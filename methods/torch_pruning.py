"""The criteria of Torch-Pruning (Fang et al., DepGraph, CVPR 2023) at matched peak memory.

The scores are computed by the library's own code (bench.surgery.torch_pruning_importance). The
widths are found with our memory model, because the library aims at a share of the channels, not at
bytes:

    uniform    every unit keeps the same share, the library's default
               (quantum: one step of the uniform grid)
    global     one ranking of the scores of all units, which the library normalises within each unit
               (quantum: one channel)
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from bench.contract import Budget, Departure, Pruned, Trainer
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.importance import ChannelScores
from bench.surgery.remove import remove_channels
from bench.surgery.torch_pruning_importance import (
    GRADIENT_CRITERIA,
    LibraryCriterion,
    library_scores,
)
from bench.surgery.width_search import global_ranking_widths, uniform_widths


@dataclass(frozen=True)
class ScoredNetwork:
    """A network, its analysis, and the scores of its channels."""

    network: nn.Module
    analysis: NetworkAnalysis
    scores: ChannelScores


@method("torch_pruning")
@dataclass(frozen=True)
class TorchPruning(StagedMethod[ScoredNetwork]):
    """Removes the channels that are least important by a criterion of the library.

    Args:
        importance: the criterion.
        ranking: channels compete within their unit ("uniform") or all with each other ("global").
    """

    paper: ClassVar[str] = (
        "Fang et al., DepGraph: Towards Any Structural Pruning, CVPR 2023, "
        "and the library Torch-Pruning 1.6"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="removes a share of the channels",
            here="as many as the budget of memory requires",
            why="rows are compared at equal peak memory",
            effect="-",
        ),
    )
    importance: LibraryCriterion = "magnitude"
    ranking: Literal["uniform", "global"] = "uniform"

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> ScoredNetwork:
        """Score the channels of the network."""
        analysis = analyse_network(model, budget)
        model = model.to(trainer.device)
        needs_data = self.importance in GRADIENT_CRITERIA
        data = (trainer.calibration, trainer.criterion) if needs_data else ()
        scores = library_scores(model, analysis.layout, self.importance, trainer.seed, *data)
        return ScoredNetwork(model, analysis, scores)

    def cut(self, prepared: ScoredNetwork, budget: Budget, trainer: Trainer) -> Pruned:
        """Keep the channels with the highest scores that fit.

        Raises:
            Infeasible: the least widths do not fit.
        """
        analysis = prepared.analysis
        min_width = trainer.recipe.min_width
        if self.ranking == "uniform":
            widths = uniform_widths(analysis, budget, min_width)
        else:
            widths = global_ranking_widths(prepared.scores, analysis, budget, min_width)
        kept = analysis.select_kept(prepared.scores, widths)
        smaller = remove_channels(prepared.network, kept, budget.input_shape, analysis.layout)
        return Pruned(smaller, kept=kept)

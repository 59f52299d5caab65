"""Taylor pruning: a channel is as important as the loss is sensitive to it, to first order.

score_c = mean (dL / dg_c)^2      g_c: a gate of one on channel c
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

import prunebench as pb


@pb.method("taylor")
@dataclass(frozen=True)
class Taylor(pb.Method):
    """Removes the channels with the lowest scores.

    Args:
        ranking: channels compete with all others ("global") or within their unit ("uniform").
    """

    paper = "Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019"
    ranking: Literal["global", "uniform"] = "global"

    def prune(
        self, model: nn.Module, budget: pb.Budget, trainer: pb.Trainer = pb.NO_TRAINER
    ) -> pb.Pruned:
        """Keep the best channels that fit. Raises Infeasible if the least widths do not."""
        analysis = pb.analyse_network(model, budget)
        scores = pb.gate_gradients(
            model.to(trainer.device), analysis.layout, trainer.calibration, trainer.criterion, 2
        )
        if self.ranking == "global":
            widths = pb.global_ranking_widths(scores, analysis, budget, trainer.recipe.min_width)
        else:
            widths = pb.uniform_widths(analysis, budget, trainer.recipe.min_width)
        kept = analysis.select_kept(scores, widths)
        smaller = pb.remove_channels(model, kept, budget.input_shape, analysis.layout)
        return pb.Pruned(smaller, kept=kept)

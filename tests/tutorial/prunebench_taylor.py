"""Taylor pruning: a channel matters as much as the loss would change to first order if it were gone.

score_c = mean (dL / dg_c)^2      g_c: a gate of one on channel c
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from prunebench import (
    NO_TRAINER,
    Budget,
    Method,
    Pruned,
    Trainer,
    analyze_network,
    gate_gradients,
    global_ranking_widths,
    method,
    remove_channels,
    uniform_widths,
)


@method("taylor")
@dataclass(frozen=True)
class Taylor(Method):
    """Removes the channels with the lowest scores.

    Args:
        ranking: channels compete with all others ("global", as published), or within their layer
            ("uniform").
    """

    paper: ClassVar[str] = (
        "Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019"
    )
    ranking: Literal["global", "uniform"] = "global"

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """The best channels that fit. Raises Infeasible if the least widths do not."""
        body, least = analyze_network(model, budget), trainer.recipe.min_width
        scores = gate_gradients(
            model.to(trainer.device), body.layout, trainer.calibration, trainer.criterion, power=2
        )
        widths = (
            global_ranking_widths(scores, body, budget, least)
            if self.ranking == "global"
            else uniform_widths(body, budget, least)
        )
        kept = body.keep(scores, widths)
        return Pruned(remove_channels(model, kept, budget.input_shape, body.layout), kept=kept)

"""S-Net: a slimmable network with a few fixed widths, its switches.

Yu et al., Slimmable Neural Networks, ICLR 2019. Each step trains every switch on the clean crops,
the widest first, and sums the losses. A budget gets the largest switch that fits, without
fine-tuning; the quantum is the gap to the next switch. All weights must be stored, whatever the
width that runs. From pretrained weights, which the paper does not start from, a switch has the most
important channels of each unit (training.py says why).

Before and after channels are ordered by importance and all phases have one learning-rate curve
(study table1, from pretrained weights, PSNR in dB at 0.75, 0.5 and 0.25 of the peak):

    seed    before                 after
    0       27.36  23.89  15.36    26.78  26.47  24.90
    1       28.06  27.38  16.94    27.58  26.38  16.82

Restoration networks have no BatchNorm, so the paper's switchable statistics have nothing to switch;
for networks with BatchNorm see training.py.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.contract import Budget, Departure, Pruned, Recipe, Trainer, Widths
from bench.errors import ConfigError
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.channel_scores import Importance
from bench.surgery.width_search import find_largest_position
from methods.slimmable.training import Slimmable, Start, start_slimmable, train


@method("s_net")
@dataclass(frozen=True)
class SNet(StagedMethod[Slimmable]):
    """Trains one network that runs at a few widths.

    Args:
        switches: shares of the channels, rising, the last one 1.
        start: "scratch" (the whole schedule of a network of its own, as in the paper) or
            "pretrained" (for short demonstrations).
        importance: orders the channels of the pretrained network.
    """

    paper: ClassVar[str] = "Yu et al., Slimmable Neural Networks, ICLR 2019"
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="trains from new weights",
            here=(
                'the same; start = "pretrained" for demonstrations, where a switch has the most '
                "important channels"
            ),
            why="the first channels of a pretrained network are worth no more than others",
            effect="not measured apart from the curve; see the header",
        ),
        Departure(
            paper="own BatchNorm statistics for each switch",
            here="none; estimated anew for the width that is cut out, if there are any",
            why="these networks have no BatchNorm",
            effect="none on networks without BatchNorm",
        ),
    )
    switches: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    start: Start = "scratch"
    importance: Importance = "l2"

    def __post_init__(self) -> None:
        if not self._are_valid_switches():
            raise ConfigError(
                f"s_net: switches = {list(self.switches)} must be numbers above 0 that rise to 1, "
                "such as [0.25, 0.5, 1.0]"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining; from scratch, pretraining is repeated."""
        return recipe.tuning_steps + (recipe.pretrain_steps if self.start == "scratch" else 0)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Slimmable:
        """Train one network at all switches."""
        slimmable = start_slimmable(model, budget, self.start, self.importance, trainer)
        switches = self.switch_widths(slimmable, trainer.recipe.min_width)

        def objective(model: nn.Module, degraded: Tensor, clean: Tensor) -> Tensor:
            losses = [
                trainer.criterion(slimmable.run(widths, degraded), clean)
                for widths in reversed(switches)
            ]
            return torch.stack(losses).sum()

        steps = trainer.recipe.tuning_steps
        train(slimmable, objective, self.start, steps, trainer, callback_state={})
        return slimmable

    def check_budget(self, model: nn.Module, budget: Budget, trainer: Trainer) -> None:
        """Raise Infeasible if the smallest switch does not fit."""
        Slimmable(model, budget).check(budget, self.switches[0], trainer.recipe.min_width)

    def cut(self, prepared: Slimmable, budget: Budget, trainer: Trainer) -> Pruned:
        """Cut out the largest switch that fits.

        Raises:
            Infeasible: the smallest switch does not fit.
        """
        switches = self.switch_widths(prepared, trainer.recipe.min_width)
        largest = find_largest_position(
            switches.__getitem__, len(switches), prepared.analysis.peak_model, budget
        )
        return prepared.cut(switches[largest], "none", trainer)

    def switch_widths(self, slimmable: Slimmable, min_width: int) -> list[Widths]:
        """Return the widths of each switch."""
        return [slimmable.widths_at(share, min_width) for share in self.switches]

    def _are_valid_switches(self) -> bool:
        if not all(isinstance(share, int | float) for share in self.switches):
            return False
        rise = all(low < high for low, high in pairwise((0.0, *self.switches)))
        return rise and self.switches[-1:] == (1.0,)

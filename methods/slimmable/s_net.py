"""S-Net: a slimmable network with a list of switches (Yu et al., Slimmable Neural Networks, ICLR 2019).

Each step trains every switch on the truth, the widest first, and sums the losses. A budget takes
the largest switch that fits, without fine-tuning, and its quantum is the gap to the next switch.
All weights must be stored, whatever the width that runs.

Restoration networks have no BatchNorm, so the paper's switchable statistics have nothing to switch;
see training.py for those that do.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.contract import Budget, Pruned, Recipe, Trainer, Widths
from bench.errors import ConfigError
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.width_search import largest_fitting
from methods.slimmable.training import Slimmable, Start, train


@method("s_net")
@dataclass(frozen=True)
class SNet(StagedMethod[Slimmable]):
    """One network with a few widths.

    Args:
        switches: shares of the channels, rising, the last one 1.
        start: "scratch" (the whole schedule of a network of its own, as in the paper) or
            "pretrained" (for short demonstrations).
    """

    paper: ClassVar[str] = "Yu et al., Slimmable Neural Networks, ICLR 2019"
    switches: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    start: Start = "scratch"

    def __post_init__(self) -> None:
        numbers = all(isinstance(share, int | float) for share in self.switches)
        if (
            not numbers
            or self.switches[-1:] != (1.0,)
            or not all(one < other for one, other in pairwise((0.0, *self.switches)))
        ):
            raise ConfigError(
                f"s_net: switches = {list(self.switches)} must be numbers above 0 that rise to 1, such as [0.25, 0.5, 1.0]"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Of the shared network."""
        return recipe.tuning_steps + (recipe.pretrain_steps if self.start == "scratch" else 0)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Slimmable:
        """Trains one network at all switches."""
        slimmable = Slimmable(model, budget)
        switches = self.widths(slimmable, trainer.recipe.min_width)

        def objective(model: nn.Module, degraded: Tensor, clean: Tensor) -> Tensor:
            return torch.stack(
                [
                    trainer.criterion(slimmable.run(widths, degraded), clean)
                    for widths in reversed(switches)
                ]
            ).sum()

        train(
            slimmable,
            objective,
            self.start,
            trainer.recipe.tuning_steps,
            trainer,
            callback_state={},
        )
        return slimmable

    def cut(self, prepared: Slimmable, budget: Budget, trainer: Trainer) -> Pruned:
        """The largest switch that fits. Raises Infeasible if the smallest does not."""
        switches = self.widths(prepared, trainer.recipe.min_width)
        largest = largest_fitting(
            lambda place: switches[place], len(switches), prepared.body.peaks, budget
        )
        return prepared.cut(switches[largest], "none", trainer)

    def widths(self, slimmable: Slimmable, min_width: int) -> list[Widths]:
        """The widths of each switch."""
        return [slimmable.at(share, min_width) for share in self.switches]

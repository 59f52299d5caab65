"""US-Net: a slimmable network that runs at any width.

Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019. Sandwich
rule: each step trains the widest network, the narrowest and n - 2 of random width; all but the
widest learn from its output (in-place distillation), or with `distilled = false` from the clean
crops. A width is one scale for all units, with divisor 1: restoration networks are too narrow for
the paper's 8. The losses of the narrower networks are averaged, where the reference sums them, and
from pretrained weights a width has the most important channels of each unit (training.py says why).

Before and after that, and one learning-rate curve for all phases (study table1, from pretrained
weights, PSNR in dB at 0.75, 0.5 and 0.25 of the peak):

    seed    before                 after
    0       24.03  15.52  15.44    26.40  24.92  23.84
    1       24.07  21.04  16.87    25.10  22.94  16.69

Sum and mean apart from that: width 8, 1,000 steps from scratch, seeds 0 and 1, PSNR of the widest
network. Distillation costs it nothing measurable any more:

                           seed 0    seed 1
    sum (before)           24.51     21.29
    clean crops, before    25.50     24.16
    mean (after)           26.92     26.06
    clean crops, after     26.73     25.99

A budget gets the largest width of the uniform grid that fits; the quantum is one step of that grid.
Widths below `least` are never trained and not offered. The paper does not fine-tune; with
`finetune`, the slimmable network has half of its steps, and the network that was cut out the other
half under matched compute, else the recipe's whole fine-tuning.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import nn

from bench.contract import Budget, Departure, Pruned, Recipe, Trainer, Widths
from bench.errors import ConfigError
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.channel_scores import Importance
from bench.surgery.width_search import count_positions, find_largest_position, scale_widths
from methods.slimmable.training import (
    Slimmable,
    Start,
    sandwich_objective,
    start_slimmable,
    train,
)


@method("us_net")
@dataclass(frozen=True)
class USNet(StagedMethod[Slimmable]):
    """Trains one network that runs at every width.

    Args:
        least: the smallest share of the channels that is trained.
        samples: networks in each step, at least 2: the widest, the narrowest, and random ones.
        distilled: narrower networks learn from the output of the widest; otherwise from the clean
            crops, as in S-Net.
        start: "scratch" (the whole schedule of a network of its own, as in the paper) or
            "pretrained" (for short demonstrations).
        importance: orders the channels of the pretrained network.
        finetune: fine-tune the network that was cut out: by half of the matched steps, or, without
            matched steps, by the recipe's fine-tuning; the slimmable network has half of its steps.
    """

    paper: ClassVar[str] = (
        "Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="sums the losses of the narrower networks",
            here="averages them",
            why=(
                "the gradient of L1 does not fade as a narrow network comes to agree with the "
                "widest, as that of cross-entropy does"
            ),
            effect=(
                "width 8, 1,000 steps from scratch: the widest network has 26.92 and 26.06 dB, "
                "as with the truth for all (26.73, 25.99); with the sum 24.51 and 21.29 "
                "(before, truth for all 25.50, 24.16)"
            ),
        ),
        Departure(
            paper="widths are multiples of 8",
            here="of 1",
            why="restoration networks have few channels",
            effect="not measured",
        ),
    )
    least: float = 0.25
    samples: int = 4
    distilled: bool = True
    start: Start = "scratch"
    importance: Importance = "l2"
    finetune: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.least <= 1 and self.samples >= 2):
            raise ConfigError(
                f"us_net: least = {self.least} must lie in (0, 1] "
                f"and samples = {self.samples} must be 2 or more"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining; from scratch, pretraining is repeated."""
        steps = recipe.matched_steps or self._steps(recipe) + self.finetune * recipe.finetune_steps
        return steps + (recipe.pretrain_steps if self.start == "scratch" else 0)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Slimmable:
        """Train one network at all widths."""
        slimmable = start_slimmable(model, budget, self.start, self.importance, trainer)
        generator = torch.Generator().manual_seed(trainer.seed)
        family = self.grid_widths(slimmable, trainer.recipe.min_width)

        def draw_widths() -> list[Widths]:
            indices = torch.randint(len(family), (self.samples - 2,), generator=generator)
            return [family[0], *(family[index] for index in indices.tolist())]

        steps = self._steps(trainer.recipe)
        objective = sandwich_objective(slimmable, draw_widths, trainer, self.distilled)
        state = {"draws": generator}
        train(slimmable, objective, self.start, steps, trainer, callback_state=state)
        return slimmable

    def check_budget(self, model: nn.Module, budget: Budget, trainer: Trainer) -> None:
        """Raise Infeasible if the narrowest trained width does not fit."""
        Slimmable(model, budget).check(budget, self.least, trainer.recipe.min_width)

    def cut(self, prepared: Slimmable, budget: Budget, trainer: Trainer) -> Pruned:
        """Cut out the largest width that fits.

        Raises:
            Infeasible: the narrowest trained width does not fit.
        """
        family = self.grid_widths(prepared, trainer.recipe.min_width)
        largest = find_largest_position(
            family.__getitem__, len(family), prepared.analysis.peak_model, budget
        )
        return prepared.cut(family[largest], "finetune" if self.finetune else "none", trainer)

    def _steps(self, recipe: Recipe) -> int:
        """Return the steps of the slimmable network after pretraining."""
        return recipe.tuning_steps // (2 if self.finetune else 1)

    def grid_widths(self, slimmable: Slimmable, min_width: int) -> list[Widths]:
        """Return the widths at the share `least` and at all grid positions above it."""
        size = count_positions(slimmable.analysis)
        wider = [
            scale_widths(slimmable.analysis, position, min_width)
            for position in range(1, size + 1)
            if Fraction(position, size) > Fraction(str(self.least))
        ]
        return [slimmable.widths_at(self.least, min_width), *wider]

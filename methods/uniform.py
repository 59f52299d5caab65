"""Uniform scale: keep the same share of the channels of every unit.

    w_u = max(w_min, floor(s c_u)),   s = k / min c_u,   k the largest that fits

The grid of s makes the widths exact multiples in a network whose channels double from level to
level: at a quarter of the peak, a U-Net of width 32 becomes a U-Net of width 8. With
`start = "scratch"` (the paper's baseline) the network gets new weights and the whole schedule; with
"slice" it keeps the most important channels of the pretrained network and is fine-tuned. The paper
names no criterion for that; ours is the L2 norm.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from bench.contract import NO_TRAINER, Budget, Departure, Finish, Method, Pruned, Recipe, Trainer
from bench.plugins.registry import method
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import uniform_widths


@method("uniform")
@dataclass(frozen=True)
class Uniform(Method):
    """Keeps the same share of every unit.

    Args:
        start: "scratch" (new weights, the whole schedule) or "slice" (the most important channels,
            fine-tuned).
        importance: the criterion of "slice"; from scratch the choice of channels has no effect.
    """

    paper: ClassVar[str] = (
        "Shi et al., Memory-Oriented Structural Pruning for Efficient Image Restoration, "
        "AAAI 2023, baseline 'scale'"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper=(
                "does not say how its row is trained, nor which channels a smaller network "
                "would keep"
            ),
            here=(
                'from new weights with the whole schedule; start = "slice" keeps the channels '
                "with the largest L2 norm"
            ),
            why="0.25 of the peak reaches 38.71 dB there, too much for a slice",
            effect=(
                "sliced is 0.5, 1.0 and 5.6 dB below scratch at 0.75, 0.5 and 0.25 (an "
                "older form of table1, mean of three seeds)"
            ),
        ),
    )
    start: Literal["scratch", "slice"] = "scratch"
    importance: Importance = "l2"

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining; from scratch, pretraining is repeated."""
        return recipe.tuning_steps + (recipe.pretrain_steps if self.start == "scratch" else 0)

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Return the network at the largest uniform scale that fits.

        Raises:
            Infeasible: the smallest scale does not fit.
        """
        analysis = analyse_network(model, budget)
        widths = uniform_widths(analysis, budget, trainer.recipe.min_width)
        importance: Importance = self.importance if self.start == "slice" else "l2"  # needs no data
        scores = score_channels(importance, model, analysis.layout, trainer)
        kept = analysis.select_kept(scores, widths)
        smaller = remove_channels(model, kept, budget.input_shape, analysis.layout)
        finish: Finish = "scratch" if self.start == "scratch" else "finetune"
        return Pruned(smaller, finish, kept)

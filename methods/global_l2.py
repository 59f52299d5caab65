"""Global L2: the channels of all units stand in one list by the L2 norm of their weights, and the smallest go first.

As published, the list does not see memory: deep layers, whose removal never lowers the peak, are
used up before the few full-resolution units shrink, and the middle of the network collapses to one
channel a layer. That is the faithful result. With `peak_aware` only units that are alive at the
current peak step are eligible, one channel at a time, which shows what the criterion itself is
worth.

The norms of layers with different fan-in are compared as they are; `norm` offers two normalised
scores. Ties go by unit, then by channel.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from bench.channels.units import Layout
from bench.contract import NO_TRAINER, Budget, Method, Pruned, Trainer
from bench.memory.groups import peak_group
from bench.memory.peak_model import floor_widths
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyze_network
from bench.surgery.importance import Scores, channel_norms, fan_in
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import global_ranking_widths, removable


@method("global_l2")
@dataclass(frozen=True)
class GlobalL2(Method):
    """One list over all layers, smallest weights first.

    Args:
        norm: "l2" (raw), "mean_abs" or "l2/sqrt(fan_in)".
        peak_aware: remove only channels that are alive at the peak step.
    """

    paper: ClassVar[str] = (
        "Shi et al., AAAI 2023, baseline 'global L2'; after Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017"
    )
    norm: Literal["l2", "mean_abs", "l2/sqrt(fan_in)"] = "l2"
    peak_aware: bool = False

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """The shortest prefix of the list whose removal fits.

        Raises Infeasible if removing all but the floor does not.
        """
        body = analyze_network(model, budget)
        body.peaks.check(budget, trainer.recipe.min_width)
        scores = self._scores(model, body.layout)
        fitted = _peak_aware_widths if self.peak_aware else global_ranking_widths
        kept = body.keep(scores, fitted(scores, body, budget, trainer.recipe.min_width))
        return Pruned(remove_channels(model, kept, budget.input_shape), kept=kept)

    def _scores(self, model: nn.Module, channels: Layout) -> Scores:
        if self.norm == "mean_abs":
            return {
                unit: score / fan_in(model, channels, unit)
                for unit, score in channel_norms(model, channels, 1).items()
            }
        scores = channel_norms(model, channels)
        return (
            scores
            if self.norm == "l2"
            else {
                unit: score / fan_in(model, channels, unit) ** 0.5 for unit, score in scores.items()
            }
        )


def _peak_aware_widths(
    scores: Scores, body: NetworkAnalysis, budget: Budget, min_width: int
) -> dict[str, int]:
    """Widths after removing, one by one, the smallest channel that is alive at the peak step."""
    peaks, widths, floor = body.peaks, dict(body.widths), floor_widths(body.widths, min_width)
    queues = {unit: removable(score, floor[unit]).tolist()[::-1] for unit, score in scores.items()}
    while peaks.peak_bytes(widths) > budget.peak_bytes:
        smallest = min(
            (unit for unit in peak_group(peaks, widths).per_channel if queues[unit]),
            key=lambda unit: queues[unit][-1],
        )
        queues[smallest].pop()
        widths[smallest] -= 1
    return widths

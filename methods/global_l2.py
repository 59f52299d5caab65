"""Global L2: rank the channels of all units by the L2 norm of their weights, remove the smallest.

As published, the ranking ignores memory: deep layers, whose removal never lowers the peak, are used
up before the few full-resolution units shrink, and the middle of the network collapses to one
channel per layer. That is the faithful result. With `peak_aware` only units that are alive at the
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
from bench.surgery.width_search import global_ranking_widths, removable_scores


@method("global_l2")
@dataclass(frozen=True)
class GlobalL2(Method):
    """Removes the channels with the smallest weights, in one ranking over all layers.

    Args:
        norm: "l2" (raw), "mean_abs" or "l2/sqrt(fan_in)".
        peak_aware: remove only channels that are alive at the peak step.
    """

    paper: ClassVar[str] = (
        "Shi et al., AAAI 2023, baseline 'global L2'; "
        "after Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017"
    )
    norm: Literal["l2", "mean_abs", "l2/sqrt(fan_in)"] = "l2"
    peak_aware: bool = False

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Remove the shortest prefix of the ranking whose removal fits.

        Raises:
            Infeasible: the least widths do not fit.
        """
        analysis = analyze_network(model, budget)
        analysis.peaks.check(budget, trainer.recipe.min_width)
        scores = self._scores(model, analysis.layout)
        search = _peak_aware_widths if self.peak_aware else global_ranking_widths
        kept = analysis.keep(scores, search(scores, analysis, budget, trainer.recipe.min_width))
        return Pruned(remove_channels(model, kept, budget.input_shape), kept=kept)

    def _scores(self, model: nn.Module, channels: Layout) -> Scores:
        if self.norm == "mean_abs":
            return {
                unit: score / fan_in(model, channels, unit)
                for unit, score in channel_norms(model, channels, 1).items()
            }
        scores = channel_norms(model, channels)
        if self.norm == "l2":
            return scores
        return {
            unit: score / fan_in(model, channels, unit) ** 0.5 for unit, score in scores.items()
        }


def _peak_aware_widths(
    scores: Scores, analysis: NetworkAnalysis, budget: Budget, min_width: int
) -> dict[str, int]:
    """Return the widths after removing the smallest channel that is alive at the peak step.

    One channel at a time, until the peak fits the budget.
    """
    peaks = analysis.peaks
    widths = dict(analysis.widths)
    floor = floor_widths(analysis.widths, min_width)
    queues = {
        unit: removable_scores(score, floor[unit]).tolist()[::-1] for unit, score in scores.items()
    }
    while peaks.peak_bytes(widths) > budget.peak_bytes:
        eligible = [unit for unit in peak_group(peaks, widths).per_channel if queues[unit]]
        smallest = min(eligible, key=lambda unit: queues[unit][-1])
        queues[smallest].pop()
        widths[smallest] -= 1
    return widths

"""Global L2: rank the channels of all units by the L2 norm of their weights, remove the smallest.

As published, the ranking ignores memory: deep layers, whose removal never lowers the peak, are used
up before the few full-resolution units shrink, and the middle of the network collapses to one
channel per layer. That is the faithful result. With `peak_aware` only units that are alive at the
current peak step are eligible, one channel at a time, which shows what the criterion itself is
worth.

The norms of layers with different fan-in are compared as they are; `norm` offers two normalised
scores. Ties are ordered by unit, then by channel.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from bench.channels.units import Layout
from bench.contract import NO_TRAINER, Budget, Method, Pruned, Trainer
from bench.memory.groups import peak_group
from bench.memory.peak_model import compute_min_widths
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.importance import ChannelScores, channel_norms, fan_in
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
        analysis = analyse_network(model, budget)
        analysis.peak_model.check(budget, trainer.recipe.min_width)
        scores = self._scores(model, analysis.layout)
        search = _peak_aware_widths if self.peak_aware else global_ranking_widths
        widths = search(scores, analysis, budget, trainer.recipe.min_width)
        kept = analysis.select_kept(scores, widths)
        return Pruned(remove_channels(model, kept, budget.input_shape), kept=kept)

    def _scores(self, model: nn.Module, layout: Layout) -> ChannelScores:
        if self.norm == "mean_abs":
            return {
                unit: score / fan_in(model, layout, unit)
                for unit, score in channel_norms(model, layout, 1).items()
            }
        scores = channel_norms(model, layout)
        if self.norm == "l2":
            return scores
        return {unit: score / fan_in(model, layout, unit) ** 0.5 for unit, score in scores.items()}


def _peak_aware_widths(
    scores: ChannelScores, analysis: NetworkAnalysis, budget: Budget, min_width: int
) -> dict[str, int]:
    """Remove the smallest channel alive at the peak step, again and again, until the budget is met.

    Returns unit -> width.
    """
    peak_model = analysis.peak_model
    widths = dict(analysis.widths)
    min_widths = compute_min_widths(analysis.widths, min_width)
    queues = {
        unit: removable_scores(score, min_widths[unit]).tolist()[::-1]
        for unit, score in scores.items()
    }
    while peak_model.peak_bytes(widths) > budget.peak_bytes:
        eligible = [unit for unit in peak_group(peak_model, widths).per_channel if queues[unit]]
        smallest = min(eligible, key=lambda unit: queues[unit][-1])
        queues[smallest].pop()
        widths[smallest] -= 1
    return widths

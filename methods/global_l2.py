"""Global L2: rank the channels of all units by the L2 norm of their weights, remove the smallest.

Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017, in one list over all layers.

The published criterion is the raw norm (`importance = "l2"`). But raw norms of different layers
compare nothing: they can be rescaled freely (`normalised_norms` in bench.surgery.importance), and
what they rank is types of layers by their initialisation. Transposed convolutions start with norm
2.0, convolutions with 1.39, and training hardly changes that (1.9 and 1.4). In a U-Net at a quarter
of its peak, one channel is left everywhere but in the transposed convolutions u1 to u4. So by
default the scale of each unit is taken out of the norms.

Raw and normalised norms (study table1, PSNR in dB at 0.75, 0.5 and 0.25 of the peak; before: raw
norms, with rates that decayed within 600 steps):

    seed    before                 raw                    normalised             peak-aware
    0       27.15  16.29  13.73    28.23  25.16  16.72    28.84  27.95  25.51    28.85  28.43  26.75
    1       28.92  27.10  16.58    24.51  16.87  16.89    29.00  28.03  20.79    28.69  28.35  26.05
    2                              27.51  27.36  16.74    28.30  27.37  19.97    28.36  27.01  26.28

The ranking ignores memory: deep layers, whose removal never lowers the peak, shrink as much as the
few full-resolution units. With `peak_aware` only units that are alive at the current
peak step are eligible, one channel at a time, which shows what the criterion itself is worth. Ties
are ordered by unit, then by channel.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Departure, Method, Pruned, Trainer
from bench.memory.groups import peak_group
from bench.memory.peak_model import compute_min_widths
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import ChannelScores
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import global_ranking_widths, removable_scores


@method("global_l2")
@dataclass(frozen=True)
class GlobalL2(Method):
    """Removes the channels with the smallest weights, in one ranking over all layers.

    Args:
        importance: the criterion of the ranking; "l2" is the published one.
        peak_aware: remove only channels that are alive at the peak step.
    """

    paper: ClassVar[str] = (
        "Shi et al., AAAI 2023, baseline 'global L2'; "
        "after Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="ranks raw norms",
            here='norms without the scale of their unit; importance = "l2" is the raw list',
            why=(
                "raw norms of different layers can be rescaled freely; they rank types of "
                "layers by their initialisation"
            ),
            effect=(
                "28.71, 27.78 and 22.09 dB at 0.75, 0.5 and 0.25; raw 26.75, 23.13 and 16.78 "
                "(an older form of table1, mean of three seeds)"
            ),
        ),
    )
    importance: Importance = "normalised_l2"
    peak_aware: bool = False

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Remove the shortest prefix of the ranking whose removal fits.

        Raises:
            Infeasible: the least widths do not fit.
        """
        analysis = analyse_network(model, budget)
        analysis.peak_model.check(budget, trainer.recipe.min_width)
        scores = score_channels(self.importance, model, analysis.layout, trainer)
        search = _peak_aware_widths if self.peak_aware else global_ranking_widths
        widths = search(scores, analysis, budget, trainer.recipe.min_width)
        kept = analysis.select_kept(scores, widths)
        smaller = remove_channels(model, kept, budget.input_shape, analysis.layout)
        return Pruned(smaller, kept=kept)


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

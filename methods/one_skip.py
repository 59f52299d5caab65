"""One skip: narrow one long skip to measure what its channels are worth (MOSP paper, Fig. 3b).

This is a probe, not a competitor. The skip gets a compactor, which keeps a share of its channels,
the most important ones; nothing else is removed. The paper names no criterion; the default is that
of `mosp`. Where the budget requires more, all other units are narrowed uniformly, as in `uniform`.
A network with fewer long skips than `skip` is only narrowed uniformly.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, Pruned, TraceStep, Trainer
from bench.errors import ConfigError, Infeasible
from bench.plugins.registry import method
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.compactors import compactor_name, insert_compactors, long_skips
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import count_positions, find_largest_position, scale_widths


@method("one_skip")
@dataclass(frozen=True)
class OneSkip(Method):
    """Keeps a share of the channels of one long skip.

    Args:
        skip: number of the skip; 1 is the first one that the network stores.
        keep: the share of its channels that stays, in (0, 1]; at least one channel does.
        importance: orders the channels of a unit.
    """

    paper: ClassVar[str] = (
        "Shi et al., Memory-Oriented Structural Pruning for Efficient Image Restoration, "
        "AAAI 2023, Fig. 3b"
    )
    skip: int = 1
    keep: float = 0.5
    importance: Importance = "gradient"

    def __post_init__(self) -> None:
        if self.skip < 1 or not 0 < self.keep <= 1:
            raise ConfigError(
                f"one_skip: skip = {self.skip}, keep = {self.keep}; "
                "skip counts from 1, and keep is a share in (0, 1]"
            )

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Narrow the skip, and the rest of the network as far as the budget requires.

        Raises:
            Infeasible: the least widths do not fit; or the skip is not as wide as a multiple of
                the channels asked for.
        """
        skips = long_skips(model, budget.input_shape)[self.skip - 1 : self.skip]
        network = insert_compactors(model, skips, budget.input_shape) if skips else model
        analysis = analyse_network(network, budget)
        min_width = trainer.recipe.min_width
        limits: dict[str, int] = {}  # widths of the compactors
        for name in map(compactor_name, skips):
            if name not in analysis.widths:
                multiple = budget.channel_multiple
                raise Infeasible(f"the width of '{name}' is no multiple of {multiple}", None)
            limits[name] = max(1, round(self.keep * analysis.widths[name]))

        def widths(index: int) -> dict[str, int]:
            return {
                unit: min(width, limits.get(unit, width))
                for unit, width in scale_widths(analysis, index + 1, min_width).items()
            }

        size = count_positions(analysis)
        final = widths(find_largest_position(widths, size, analysis.peak_model, budget))
        scores = score_channels(self.importance, network, analysis.layout, trainer)
        kept = analysis.select_kept(scores, final)
        smaller = remove_channels(network, kept, budget.input_shape, analysis.layout)
        note = "compactor on one skip" if skips else "no such skip"
        start = TraceStep(analysis.peak_model.peak_bytes(analysis.widths), analysis.widths, note)
        return Pruned(smaller, kept=kept, inserted=tuple(skips), trace=(start,))

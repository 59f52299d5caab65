"""One long skip narrowed alone: what its channels are worth (Fig. 3b of the MOSP paper).

A probe, no competitor.

The skip gets a compactor, which keeps a share of its channels, those with the largest gate
gradient; nothing else is removed. Where the budget asks for more than that, all other units are
narrowed uniformly, as `uniform` does. A network with fewer long skips than asked is narrowed
uniformly alone.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, Pruned, TraceStep, Trainer
from bench.errors import ConfigError
from bench.plugins.registry import method
from bench.surgery.analysis import analyze_network
from bench.surgery.compactors import compactor_name, insert, long_skips
from bench.surgery.importance import gate_gradients
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import largest_fitting, positions, scaled


@method("one_skip")
@dataclass(frozen=True)
class OneSkip(Method):
    """A share of the channels of one long skip.

    Args:
        skip: which one, 1 for the first that the network stores.
        keep: the share of its channels that stays, in (0, 1]; at least one channel does.
    """

    paper: ClassVar[str] = (
        "Shi et al., Memory-Oriented Structural Pruning for Efficient Image Restoration, AAAI 2023, Fig. 3b"
    )
    skip: int = 1
    keep: float = 0.5

    def __post_init__(self) -> None:
        if self.skip < 1 or not 0 < self.keep <= 1:
            raise ConfigError(
                f"one_skip: skip = {self.skip}, keep = {self.keep}; skip counts from 1, and keep is a share in (0, 1]"
            )

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """The network with that skip narrowed, and the rest as wide as the budget allows.

        Raises Infeasible.
        """
        chosen = long_skips(model, budget.input_shape)[self.skip - 1 : self.skip]
        network = insert(model, chosen, budget.input_shape) if chosen else model
        body, floor = analyze_network(network, budget), trainer.recipe.min_width
        most = {
            compactor_name(value): max(1, round(self.keep * body.widths[compactor_name(value)]))
            for value in chosen
        }

        def widths(position: int) -> dict[str, int]:
            return {
                unit: min(width, most.get(unit, width))
                for unit, width in scaled(body, position + 1, floor).items()
            }

        final = widths(largest_fitting(widths, positions(body), body.peaks, budget))
        kept = body.keep(
            gate_gradients(network, body.layout, trainer.calibration, trainer.criterion), final
        )
        diary = (
            TraceStep(
                body.peaks.peak_bytes(body.widths),
                body.widths,
                "compactor on one skip" if chosen else "no such skip",
            ),
        )
        return Pruned(
            remove_channels(network, kept, budget.input_shape),
            kept=kept,
            inserted=tuple(chosen),
            trace=diary,
        )

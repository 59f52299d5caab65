"""Measure a network with fewer channels, many times on the same inputs, without removing them.

Where a mask is exact, the weights are masked; otherwise a smaller copy runs, which shares the
weights that it keeps whole and is not verified. Both start at the first layer that differs.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from torch import nn

from bench.channels.units import Layout
from bench.contract import Kept
from bench.graph.resumed import ResumedNetwork
from bench.surgery.masks import mask_channels
from bench.surgery.remove import cut_copy


class NarrowedRuns:
    """Runs versions of a network that lack channels.

    Args:
        model: must not change as long as this object is used.
        layout: of the network.
        units: those that may lose channels; all if not given.
    """

    def __init__(
        self, model: nn.Module, layout: Layout, units: Collection[str] | None = None
    ) -> None:
        self.model, self.layout = model, layout
        self.units = layout.units.keys() if units is None else units
        self.cuts = bool(layout.cross_channel_ops)
        slot_mask = np.ones(layout.size + 1, dtype=bool)
        for unit in self.units:
            slot_mask[layout.slots(unit)] = False
        self.network = ResumedNetwork(model, self._find_changes(slot_mask, by_cut=True))

    @contextmanager
    def narrow(self, kept: Kept) -> Iterator[nn.Module]:
        """Yield a network that computes with the kept channels only.

        Args:
            kept: unit -> channels that stay; units that are not named keep all.

        Raises:
            ConfigError: a unit or a channel does not exist, or a unit would lose all channels.
        """
        changes = self._find_changes(self.layout.slot_mask(kept), self.cuts)
        if not changes:
            with self.network.run_from(()):
                yield self.network
        elif self.cuts:
            version = cut_copy(self.model, self.layout, kept, shares_weights=True)[0]
            with self.network.run_as(version, changes):
                yield self.network
        else:
            with (
                mask_channels(self.model, self.layout, kept),
                self.network.run_as(self.model, changes),
            ):
                yield self.network

    def run_whole(self) -> AbstractContextManager[nn.Module]:
        """Give a context of the whole network, which runs from the first reader of a unit on."""
        readers = {layer for unit in self.units for layer in self.layout.consumers(unit)}
        return self.network.run_from(readers)

    def replace(self, smaller: nn.Module, kept: Kept) -> None:
        """Go on with the network without some channels, which surgery has removed for good."""
        self.network.replace(smaller, self._find_changes(self.layout.slot_mask(kept), by_cut=True))
        self.model, self.layout = smaller, self.layout.narrow(kept)

    def _find_changes(self, slot_mask: np.ndarray, by_cut: bool) -> set[str]:
        """Return the operators, layers and weights that change where channels are missing.

        Args:
            slot_mask: bool (slots + 1,), the channels that stay.
            by_cut: the others are cut out, not masked where they are read.
        """
        layout = self.layout
        changing: list[tuple[str, np.ndarray]] = [*layout.reads.items()]
        if by_cut:
            changing += layout.makes.items()
            changing += [(name, slots) for name, (_, slots) in layout.followers.items()]
            changing += [
                (rewrite.op, rewrite.slots)
                for rewrite in layout.rewrites
                if rewrite.slots is not None
            ]
        return {name for name, slots in changing if not slot_mask[slots].all()}

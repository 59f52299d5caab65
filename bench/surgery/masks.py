"""Pretending to remove channels: the input slices of every consumer are zeroed, and put back afterwards.

A channel that nobody reads is gone, whatever its producer, bias or activation makes of it. Exact for all operators that keep channels
apart, and cheaper than surgery. (Zeroing the producer's output is not exact: a sigmoid or a normalisation turns zeros into something.)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.contract import Kept
from bench.memory.layout import Layout


@contextmanager
def masked(model: nn.Module, channels: Layout, kept: Kept) -> Iterator[None]:
    """Inside, the network computes what it would with only the kept channels of the named units."""
    undo: list[tuple[Tensor, int, Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for layer in dict.fromkeys(layer for unit in kept for layer in channels.consumers(unit)):
                weight, axis = input_slices(model.get_submodule(layer))
                places = torch.tensor(_dropped_inputs(channels, layer, kept), device=weight.device, dtype=torch.long)
                if len(places):
                    undo.append((weight, axis, places, weight.index_select(axis, places)))
                    weight.index_fill_(axis, places, 0.0)
        yield
    finally:
        with torch.no_grad():
            for weight, axis, places, values in undo:
                weight.index_copy_(axis, places, values)


def input_slices(layer: nn.Module) -> tuple[Tensor, int]:
    """The weight of a layer that mixes channels, and its axis of input channels (1, in transposed convolutions 0)."""
    return layer.weight, 0 if isinstance(layer, nn.ConvTranspose2d) else 1  # type: ignore[return-value]


def output_slices(layer: nn.Module) -> tuple[Tensor, int]:
    """The weight of a layer that mixes channels, and its axis of output channels."""
    weight, axis = input_slices(layer)
    return weight, 1 - axis


def _dropped_inputs(channels: Layout, layer: str, kept: Kept) -> list[int]:
    """Places, along the input channels of a layer, of the channels that are not kept."""
    places: list[int] = []
    for start, segment in channels.offsets(layer):
        if segment.unit in kept:
            places.extend(start + index for index in sorted(set(range(segment.channels)) - set(kept[segment.unit])))
    return places

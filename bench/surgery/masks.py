"""Pretending to remove channels: the input slices of every consumer are zeroed, and put back afterwards.

A channel that nobody reads is gone, whatever its producer, bias or activation makes of it. Exact
for all operators that keep channels apart, and cheaper than surgery. (Zeroing the producer's output
is not exact: a sigmoid or a normalisation turns zeros into something.) A network that computes over
all channels (a normalisation, a mean) has no mask that is equal to a removal, and is refused by
name.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.channels.units import Layout
from bench.contract import Kept
from bench.errors import ConfigError


@contextmanager
def masked(model: nn.Module, channels: Layout, kept: Kept) -> Iterator[None]:
    """Inside, the network computes what it would with only the kept channels of the named units.

    Raises:
        ConfigError: the network computes over all channels, or `kept` does not fit it.
    """
    if channels.across:
        raise ConfigError(
            f"'{channels.across[0]}' computes over all channels: no mask equals a removal; remove the channels and measure"
        )
    stays = torch.from_numpy(channels.stays(kept))
    undo: list[tuple[Tensor, int, Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for layer in dict.fromkeys(
                layer for unit in kept for layer in channels.consumers(unit)
            ):
                weight, axis = input_slices(model.get_submodule(layer))
                gone = (
                    (~stays[channels.reads[layer]][: weight.shape[axis]])
                    .nonzero()[:, 0]
                    .to(weight.device)
                )  # alike in every group
                if len(gone):
                    undo.append((weight, axis, gone, weight.index_select(axis, gone)))
                    weight.index_fill_(axis, gone, 0.0)
        yield
    finally:
        with torch.no_grad():
            for weight, axis, gone, values in undo:
                weight.index_copy_(axis, gone, values)


def channel_axis(layer: nn.Module) -> int:
    """The axis of channels in what a layer that mixes channels reads and makes, counted from the end."""
    return -1 if isinstance(layer, nn.Linear) else -3


def input_slices(layer: nn.Module) -> tuple[Tensor, int]:
    """The weight of a layer that mixes channels, and its axis of input channels (1, in transposed convolutions 0)."""
    return layer.weight, 0 if isinstance(layer, nn.ConvTranspose2d) else 1  # type: ignore[return-value]


def output_slices(layer: nn.Module) -> tuple[Tensor, int]:
    """The weight of a layer that mixes channels, and its axis of output channels."""
    weight, axis = input_slices(layer)
    return weight, 1 - axis

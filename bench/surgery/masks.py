"""Masks: remove channels temporarily, by zeroing what every consumer reads of them.

A channel that no layer reads has no effect, whatever its producer, bias or activation computes. So
this is exact for all operators that keep channels apart, and cheaper than surgery. (Zeroing the
output of the producer is not exact: a sigmoid or a normalisation turns zeros into something else.)
For a network that computes over all channels (a normalisation, a mean) no mask equals a removal; it
is refused, and the error names the operator.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.channels.units import Layout
from bench.contract import Kept
from bench.errors import ConfigError


@contextmanager
def mask_channels(model: nn.Module, layout: Layout, kept: Kept) -> Iterator[None]:
    """Make a network compute, inside the context, with only the kept channels of the named units.

    Args:
        model: its weights are changed, and restored at the end.
        layout: of the network.
        kept: unit -> channels that stay; units that are not named keep all.

    Raises:
        ConfigError: the network computes over all channels, or `kept` does not fit it.
    """
    if layout.cross_channel_ops:
        raise ConfigError(
            f"'{layout.cross_channel_ops[0]}' computes over all channels: "
            "no mask equals a removal; remove the channels and measure"
        )
    slot_mask = torch.from_numpy(layout.slot_mask(kept))
    saved_slices: list[tuple[Tensor, int, Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            consumers = [layer for unit in kept for layer in layout.consumers(unit)]
            for layer in dict.fromkeys(consumers):
                weight, axis = weight_and_input_axis(model.get_submodule(layer))
                # All groups of a grouped convolution lose the same channels: take the first.
                is_removed = ~slot_mask[layout.reads[layer]][: weight.shape[axis]]
                removed = is_removed.nonzero()[:, 0].to(weight.device)
                if len(removed):
                    saved_slices.append((weight, axis, removed, weight.index_select(axis, removed)))
                    weight.index_fill_(axis, removed, 0.0)
        yield
    finally:
        with torch.no_grad():
            for weight, axis, removed, values in saved_slices:
                weight.index_copy_(axis, removed, values)


def channel_axis(layer: nn.Module) -> int:
    """Return the channel axis of the input and output of a layer that mixes channels.

    It is counted from the end.
    """
    return -1 if isinstance(layer, nn.Linear) else -3


def weight_and_input_axis(layer: nn.Module) -> tuple[Tensor, int]:
    """Return the weight of a layer that mixes channels, and the weight's axis of input channels.

    The axis is 1, for transposed convolutions 0.
    """
    axis = 0 if isinstance(layer, nn.ConvTranspose2d) else 1
    return layer.weight, axis  # type: ignore[return-value]


def weight_and_output_axis(layer: nn.Module) -> tuple[Tensor, int]:
    """Return the weight of a layer that mixes channels, and its axis of output channels."""
    weight, axis = weight_and_input_axis(layer)
    return weight, 1 - axis

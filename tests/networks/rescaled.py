"""Networks that compute the same with other weights: units, or channels, times factors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.channels.units import Layout
from bench.surgery.masks import weight_and_input_axis, weight_and_output_axis

Factors = Mapping[str, float | Tensor]  # unit -> factor of all its channels, or of each


@torch.no_grad()
def rescale_units(network: nn.Module, layout: Layout, factors: Factors) -> None:
    """Multiply the output of units, and divide what their readers multiply it with, in place.

    The network computes the same if all operators in between are positively homogeneous.
    """
    factor = torch.ones(layout.size + 1)
    for unit, value in factors.items():
        factor[layout.slots(unit)] = value
    for name, slots in layout.makes.items():
        layer = network.get_submodule(name)
        weight, axis = weight_and_output_axis(layer)
        weight.movedim(axis, -1).mul_(factor[slots])
        if layer.bias is not None:
            layer.bias.mul_(factor[slots])
    for name, slots in layout.reads.items():
        weight, axis = weight_and_input_axis(network.get_submodule(name))
        weight.movedim(axis, -1).div_(factor[slots])

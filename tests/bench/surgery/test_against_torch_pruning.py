"""Our units against the groups of torch-pruning's DependencyGraph, on networks that it supports.

The two are independent analyses of the same question.
"""

from collections.abc import Callable

import pytest
import torch_pruning
from torch import nn

from bench.channels.units import Layout
from tests.networks.public import PUBLIC, input_shape, random_inputs
from tests.networks.small import SHAPE, Residual, network_layout, unet

Slices = set[tuple[str, str, int]]  # layer, "in" or "out", channel


def _without_inplace(network: nn.Module) -> nn.Module:
    """Make activations work out of place: the library misreads those that overwrite an operand."""
    for layer in network.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
    return network


def _library_slices(
    network: nn.Module, groups: torch_pruning.DependencyGraph, layer: str, channel: int
) -> Slices:
    names = {module: name for name, module in network.named_modules()}
    slices: Slices = set()
    root = network.get_submodule(layer)
    group = groups.get_pruning_group(root, torch_pruning.prune_conv_out_channels, [channel])
    for dependency, channels in group:
        module = dependency.target.module
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            side = "out" if "out" in dependency.handler.__name__ else "in"
            slices |= {(names[module], side, int(index)) for index in channels}
    return slices


def _layout_slices(layout: Layout, unit: str, channel: int) -> Slices:
    slot = layout.units[unit].start + channel
    sides = (("out", layout.makes), ("in", layout.reads))
    return {
        (layer, side, index)
        for side, layers in sides
        for layer, slots in layers.items()
        for index in (slots == slot).nonzero()[0].tolist()
    }


OURS: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "compactors": lambda: unet(compactors=True),
    "residual": Residual,
}
SUPPORTED = (
    "dncnn",
    "ridnet",
    "mprnet",
    "res-u-net",
    "res-u-net, no global residual",
    "noise map denoiser",
    "guided filter",
)


@pytest.mark.parametrize("name", [*OURS, *SUPPORTED])
def test_what_goes_with_a_channel_is_what_the_library_finds(name: str) -> None:
    network = _without_inplace((OURS | PUBLIC)[name]())
    shape = SHAPE if name in OURS else input_shape(name)
    layout = network_layout(network, shape)
    groups = torch_pruning.DependencyGraph().build_dependency(network, tuple(random_inputs(shape)))
    for unit in layout.units.values():
        for channel in (0, unit.channels - 1):
            expected = _library_slices(network, groups, unit.layers[0], channel)
            assert _layout_slices(layout, unit.name, channel) == expected

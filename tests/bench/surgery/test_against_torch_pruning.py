"""Our units against the groups of torch-pruning's DependencyGraph, on networks that it follows: two analyses of the same question."""

from collections.abc import Callable

import pytest
import torch_pruning
from torch import nn

from bench.channels.units import Layout
from tests.networks.public import PUBLIC, inputs_of, shape_of
from tests.networks.small import SHAPE, Residual, layout_at, unet

Slices = set[tuple[str, str, int]]  # layer, "in" or "out", channel


def _plain(network: nn.Module) -> nn.Module:
    """Activations out of place: the library misreads those that overwrite their operand."""
    for layer in network.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
    return network


def _of_the_library(
    network: nn.Module, groups: torch_pruning.DependencyGraph, layer: str, channel: int
) -> Slices:
    names = {module: name for name, module in network.named_modules()}
    found: Slices = set()
    root = network.get_submodule(layer)
    for dependency, channels in groups.get_pruning_group(
        root, torch_pruning.prune_conv_out_channels, [channel]
    ):
        module = dependency.target.module
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            side = "out" if "out" in dependency.handler.__name__ else "in"
            found |= {(names[module], side, int(one)) for one in channels}
    return found


def _of_ours(channels: Layout, unit: str, channel: int) -> Slices:
    place = channels.units[unit].start + channel
    sides = (("out", channels.makes), ("in", channels.reads))
    return {
        (layer, side, one)
        for side, rows in sides
        for layer, row in rows.items()
        for one in (row == place).nonzero()[0].tolist()
    }


OURS: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "compactors": lambda: unet(compactors=True),
    "residual": Residual,
}


FOLLOWED = (
    "dncnn",
    "ridnet",
    "mprnet",
    "res-u-net",
    "res-u-net, no global residual",
    "noise map denoiser",
    "guided filter",
)


@pytest.mark.parametrize("name", [*OURS, *FOLLOWED])
def test_what_goes_with_a_channel_is_what_the_library_finds(name: str) -> None:
    network, shape = _plain((OURS | PUBLIC)[name]()), SHAPE if name in OURS else shape_of(name)
    channels = layout_at(network, shape)
    groups = torch_pruning.DependencyGraph().build_dependency(network, tuple(inputs_of(shape)))
    for unit, each in channels.units.items():
        for channel in (0, each.channels - 1):
            assert _of_ours(channels, unit, channel) == _of_the_library(
                network, groups, each.layers[0], channel
            )

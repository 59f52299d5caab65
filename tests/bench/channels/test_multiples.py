"""Blocks of channels keep every layer a multiple wider, whatever slots they are made of."""

from dataclasses import replace

import pytest
from torch import nn

from bench.channels.multiples import block_sizes
from bench.contract import Budget
from bench.errors import Infeasible
from bench.memory.profile import peak_memory
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.remove import remove_channels
from tasks.models.edsr import EDSR
from tasks.models.nafnet import NAFNet
from tasks.models.unet import UNet
from tests.networks.small import Grouped, network_layout

SHAPE = (1, 3, 32, 32)
NETWORKS = {
    "U-Net": lambda: UNet(8),
    "EDSR": lambda: EDSR(16, blocks=1, scale=2),
    "NAFNet": lambda: NAFNet(8),
}


def analyse(network: nn.Module, multiple: int) -> NetworkAnalysis:
    return analyse_network(network, Budget(1, SHAPE, channel_multiple=multiple))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_width_of_blocks_gives_multiples_and_the_peak_that_is_planned(name: str) -> None:
    network = NETWORKS[name]().eval()
    analysis = analyse(network, 4)
    widths = {unit: max(1, full // 2) for unit, full in analysis.widths.items()}
    kept = {unit: list(range(width)) for unit, width in widths.items()}
    smaller = remove_channels(network, kept, SHAPE, analysis.layout)
    layers = [layer for layer in smaller.modules() if isinstance(layer, nn.Conv2d)]
    assert peak_memory(smaller, SHAPE) == analysis.peak_model.peak_bytes(widths)
    assert {layer.out_channels % 4 for layer in layers} <= {0, 3}  # 3: the output of the network


def test_a_slot_of_several_channels_needs_fewer_of_them() -> None:
    layout = network_layout(Grouped())
    assert [set(block_sizes(layout, multiple).values()) for multiple in (2, 4)] == [{1}, {2}]


def test_channels_of_similar_norm_share_a_block() -> None:
    network = UNet(8).eval()
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    for index in (1, 3, 4, 6):
        first.weight.data[index] *= 100
    (strong, weak) = next(iter(analyse(network, 4).blocks.values()))
    assert (strong, weak) == ([1, 3, 4, 6], [0, 2, 5, 7])


def test_a_unit_whose_width_is_no_multiple_keeps_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Conv2d(8, 3, 3))
    analysis = analyse(network, 4)
    assert analysis.widths == {"1": 2}
    assert analysis.layout.fixed["0"] == "its 6 channels are no multiple of 4"


def test_a_network_without_any_multiple_is_infeasible() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 3, 3))
    with pytest.raises(Infeasible, match="no unit has a width that is a multiple of 4 channels"):
        analyse(network, 4)


def test_what_cannot_be_met_names_the_multiple() -> None:
    budget = Budget(1, SHAPE, channel_multiple=4)
    with pytest.raises(Infeasible, match="is not possible with multiples of 4 channels; the least"):
        analyse_network(UNet(8), budget).peak_model.check(budget)
    with pytest.raises(Infeasible, match="is not possible; the least"):
        analyse_network(UNet(8), replace(budget, channel_multiple=1)).peak_model.check(
            replace(budget, channel_multiple=1)
        )

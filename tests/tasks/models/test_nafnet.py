"""NAFNet: its published numbers, its prunable units, and its initialisation."""

import pytest
import torch

from bench.channels.units import channel_layout
from bench.contract import Budget
from bench.graph.lowering import trace
from bench.memory.profile import count_macs, peak_memory
from bench.plugins.registry import METHODS
from tasks.models.initialisation import initialise
from tasks.models.nafnet import NAFNet

SHAPE = (1, 3, 64, 64)
DEBLURRING = {"encoder1": 1, "encoder2": 1, "encoder3": 1, "encoder4": 28, "middle": 1}
SMALL = {"encoder1": 1, "encoder2": 1, "encoder3": 1, "encoder4": 1, "middle": 1, "decoder": 1}


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 29_159_715),
        ({"width": 64}, 115_982_915),
        ({**DEBLURRING, "decoder": 1}, 17_111_907),
        ({**DEBLURRING, "decoder": 1, "width": 64}, 67_888_835),
    ],
)
def test_parameters_are_those_of_the_published_networks(
    options: dict[str, int], parameters: int
) -> None:
    with torch.device("meta"):
        assert sum(weight.numel() for weight in NAFNet(**options).parameters()) == parameters


def test_at_width_32_it_needs_the_16_g_macs_of_the_paper() -> None:
    with torch.device("meta"):
        assert round(count_macs(NAFNet(), (1, 3, 256, 256)) / 1e9) == 16


def test_a_level_is_one_unit_and_each_gate_another() -> None:
    layout = channel_layout(trace(NAFNet(4, **SMALL), SHAPE))
    assert len(layout.widths) == 5 + 2 * 9  # levels; two gates in each of nine blocks
    assert list(layout.fixed) == ["out"]


def test_it_is_cut_to_half_its_peak() -> None:
    network = NAFNet(8, **SMALL).eval()
    half = peak_memory(network, SHAPE) // 2
    smaller = METHODS.get("uniform")(start="slice").prune(network, Budget(half, SHAPE)).model
    assert peak_memory(smaller, SHAPE) <= half
    assert smaller(torch.rand(SHAPE)).shape == SHAPE


def test_new_weights_make_every_block_the_identity_again() -> None:
    network = NAFNet(4, **SMALL)
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(0.1)
    initialise(network, torch.Generator().manual_seed(0))
    block, x = network.middle[0], torch.rand(1, 64, 8, 8)
    assert block(x).equal(x)
    assert block.spatial[1].weight.std() > 0

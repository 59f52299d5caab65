"""Res-U-Net: its published numbers, and its prunable units."""

import pytest
import torch

from bench.channels.units import channel_layout
from bench.graph.lowering import trace
from bench.memory.profile import profile
from bench.surgery.compactors import insert_compactors, long_skips
from bench.units import MIB
from tasks.models.initialisation import initialise
from tasks.models.res_unet import ResUNet

SHAPE = (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("shape", "residual", "peak_mib"),
    [
        ((1, 3, 1024, 2048), True, 1048),
        ((1, 3, 1024, 2048), False, 1024),
        ((1, 3, 256, 256), True, 32.75),
        ((1, 3, 256, 256), False, 32),
    ],
)
def test_parameters_and_planned_peak_are_the_known_ones(
    shape: tuple[int, int, int, int], residual: bool, peak_mib: float
) -> None:
    measured = profile(ResUNet(global_residual=residual), shape)
    assert (measured.parameters, measured.peak_bytes) == (9_503_779, peak_mib * MIB)


def test_the_two_summands_of_a_block_are_one_unit_and_there_are_26() -> None:
    layout = channel_layout(trace(ResUNet(2), SHAPE))
    assert len(layout.widths) == 26
    assert list(layout.makes["encoder.1.second"]) == list(layout.makes["encoder.1.shortcut"])


def test_its_four_concatenated_skips_get_compactors_and_its_sums_stay() -> None:
    network = ResUNet(2)
    skips = long_skips(network, SHAPE)
    assert len(skips) == 4
    assert len(channel_layout(trace(insert_compactors(network, skips, SHAPE), SHAPE)).widths) == 30


def test_initialisation_keeps_the_signal() -> None:
    network = ResUNet(8, global_residual=False)
    initialise(network, torch.Generator().manual_seed(0))
    assert (
        0.1
        < network(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))).std()
        < 10
    )

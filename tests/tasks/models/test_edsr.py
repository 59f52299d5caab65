"""EDSR-baseline: its published numbers, and its prunable units."""

import pytest
import torch

from bench.channels.units import channel_layout
from bench.graph.lowering import trace
from bench.memory.profile import profile
from bench.surgery.compactors import long_skips
from tasks.models.edsr import EDSR
from tasks.models.initialisation import initialise

SHAPE = (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("scale", "parameters", "channels"),
    [(2, 1_369_859, 320), (3, 1_554_499, 640), (4, 1_517_571, 1280)],
)
def test_parameters_and_planned_peak_are_the_known_ones(
    scale: int, parameters: int, channels: int
) -> None:
    measured = profile(EDSR(scale=scale), SHAPE)
    assert (measured.parameters, measured.peak_bytes) == (parameters, channels * 4 * 16 * 16)


def test_the_trunk_is_one_unit_and_its_skips_get_no_compactor() -> None:
    network = EDSR(4, blocks=3, scale=4)
    layout = channel_layout(trace(network, SHAPE))
    assert list(layout.widths) == [
        "head",
        "blocks.0.first",
        "blocks.1.first",
        "blocks.2.first",
        "up.u1",
        "up.u2",
    ]
    assert long_skips(network, SHAPE) == []


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_enlarges_by_its_scale_and_keeps_the_signal(scale: int) -> None:
    network = EDSR(8, scale=scale)
    initialise(network, torch.Generator().manual_seed(0))
    enlarged = network(torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(1)))
    assert enlarged.shape == (1, 3, 16 * scale, 24 * scale)
    assert 0.1 < enlarged.std() < 10


def test_another_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="scale = 5; give one of 2, 3, 4"):
        EDSR(scale=5)

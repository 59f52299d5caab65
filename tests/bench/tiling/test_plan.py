"""Plans cover an image; sizes that no tile can have are refused in one line."""

from itertools import pairwise

import numpy as np
import pytest
from torch import nn

from bench.errors import ConfigError
from bench.memory.profile import count_macs
from bench.tiling.plan import count_tiles, lay_out, plan_tiles
from bench.tiling.receptive_field import AxisField
from tasks.models.edsr import EDSR
from tasks.models.nafnet import ChannelAttention
from tasks.models.unet import UNet
from tests.fakes import Tiny

SHAPE = (1, 3, 64, 64)
FIELD = AxisField(
    ratio=1,  # type: ignore[arg-type]
    period=4,
    low=np.zeros(4),
    high=np.zeros(4),
    lost_before=3,
    lost_behind=5,
    excess=0,
    least=1,
)


@pytest.mark.parametrize("length", range(24, 80, 3))
@pytest.mark.parametrize("tile", [12, 16, 20])
def test_tiles_cover_an_axis_and_keep_nothing_that_is_wrong(length: int, tile: int) -> None:
    parts = lay_out(FIELD, length, tile, overlap=8)
    assert len(parts) == count_tiles(length, tile, 8)
    assert parts[0].start == parts[0].first == 0 and parts[-1].last is None
    assert parts[-1].stop == length and all(part.stop - part.start <= tile for part in parts)
    assert all(part.start % FIELD.period == 0 for part in parts)
    for part, after in pairwise(parts):
        assert part.last == after.first
        assert after.first >= after.start + FIELD.lost_before
        assert after.first <= part.stop - FIELD.lost_behind


def test_a_plan_counts_input_output_and_what_tiles_compute_twice() -> None:
    network = EDSR(width=4, blocks=1, scale=2)
    plan = plan_tiles(network, SHAPE, (40, 64))
    assert plan.buffer_bytes == 4 * 3 * 64 * 64 * (1 + 2 * 2)
    assert plan.count == 2
    assert plan.macs == count_macs(network, SHAPE) * (40 + 40) // 64
    assert plan_tiles(network, SHAPE, (64, 64)).buffer_bytes == 0


@pytest.mark.parametrize(
    ("tile", "halo", "message"),
    [
        ((32, 64), None, r"tiles 32 pixels high were asked for, and neighbours share 44; give at "),
        ((64, 50), 8, r"tiles 50 pixels wide were asked for, .* every 4; give 52"),
        ((64, 64), -1, r"a halo of -1 pixels was asked for; give 0 or more"),
        ((32,), None, r"tile \(32,\) is not \(height, width\), two positive whole numbers"),
    ],
)
def test_a_tile_that_cannot_be_is_refused(tile, halo: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_tiles(UNet(width=2, levels=3), SHAPE, tile, halo=halo)


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (UNet(width=2, levels=3), (1, 3, 63, 64), "1x3x63x64.*Sizes of tensors must match"),
        (nn.PixelUnshuffle(2), (1, 3, 33, 32), "1x3x33x32: "),
        (ChannelAttention(3), SHAPE, "no halo makes tiles exact: pooling over the image in pool"),
        (nn.AdaptiveAvgPool2d(1), SHAPE, "returns 1x3x1x1 for an image of 1x3x64x64"),
    ],
)
def test_a_network_or_image_that_has_no_tiles_is_refused(network, shape, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_tiles(network, shape, (16, 16))


def test_a_tile_holds_what_a_padding_mirrors() -> None:
    network = nn.Sequential(nn.ReflectionPad2d(12), nn.Conv2d(3, 3, 25))
    with pytest.raises(ConfigError, match="give at least 13, or"):
        plan_tiles(network, SHAPE, (12, 64), halo=0)


def test_a_network_of_several_inputs_or_outputs_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x):
            return x + 1, x * 2

    with pytest.raises(ConfigError, match="returns 2 tensors"):
        plan_tiles(Two(), SHAPE, (16, 16))
    assert plan_tiles(Tiny(4), SHAPE, (16, 16), halo=0).count == 16

"""The receptive field equals the one that gradients show; what has none is named."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import ConfigError
from bench.tiling.receptive_field import receptive_field
from tasks.models.edsr import EDSR
from tasks.models.nafnet import ChannelAttention
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet
from tests.oracles.gradient_field import assert_field_by_gradients

SHAPE = (1, 3, 48, 64)
NETWORKS = {
    "unet": lambda: UNet(width=4, levels=2),
    "res_unet": lambda: ResUNet(width=4, levels=2),
    "edsr x2": lambda: EDSR(width=4, blocks=1, scale=2),
    "edsr x3": lambda: EDSR(width=4, blocks=1, scale=3),
}


class Function(nn.Module):
    """A convolution, then a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.layer, self.function = nn.Conv2d(3, 4, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_field_of_a_backbone_is_that_of_its_gradients(name: str) -> None:
    assert_field_by_gradients(NETWORKS[name]().eval(), SHAPE)


STEPS = {
    "transposed, stride 3": lambda: nn.ConvTranspose2d(4, 3, 5, 3, 1),
    "transposed, padding 1": lambda: nn.ConvTranspose2d(4, 3, 4, 2, 1),
    "bilinear x2": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear x1/2": lambda: nn.Upsample(scale_factor=0.5, mode="bilinear"),
    "nearest x3/2": lambda: nn.Upsample(scale_factor=1.5),
    "bicubic x2": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "shuffle, then stride": lambda: nn.Sequential(
        nn.PixelShuffle(2), nn.Conv2d(1, 2, (1, 5), (3, 2), (0, 2))
    ),
    "unshuffle": lambda: nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(64, 3, 3, padding=1)),
    "dilated, padding on one side": lambda: nn.Sequential(
        nn.ReflectionPad2d((0, 3, 1, 0)), nn.Conv2d(4, 3, 2, dilation=3)
    ),
    "pool without padding": lambda: nn.AvgPool2d(3, 2),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_field_of_an_operator_is_that_of_its_gradients(name: str) -> None:
    assert_field_by_gradients(Function(STEPS[name]()).eval(), SHAPE)


def test_what_is_written_into_a_part_of_a_value_is_seen_through_the_whole() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.wide = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(2, 2, 9, padding=4)

        def forward(self, x: Tensor) -> Tensor:
            whole = self.first(x)
            part, other = whole[:, :2], whole[:, 2:]
            part.add_(self.wide(other))
            return whole * 2

    assert_field_by_gradients(Writes().eval(), SHAPE)


def test_the_field_of_the_u_net_of_the_paper_is_known() -> None:
    field = receptive_field(UNet(width=2), (1, 3, 64, 64))
    assert (field.rows.before, field.rows.behind, field.rows.period) == (107, 107, 16)
    assert field.columns.exact_overlap == 192  # of 2 x 94: at most of the tiles, on the even grid


def test_what_mixes_the_whole_image_is_named_with_its_place_in_the_code() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), ChannelAttention(4))
    (named,) = receptive_field(network, SHAPE).over_image
    assert re.fullmatch(r"pooling over the image in 1\.pool, nafnet\.py:\d+", named)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x * x.mean((2, 3), keepdim=True), "mean over the image"),
        (lambda x: F.instance_norm(x), "mean and variance over the image"),
        (lambda x: x.flatten(2).softmax(-1).view_as(x), "softmax over the image"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), "padding with the other side"),
    ],
)
def test_a_function_of_the_whole_image_is_named(function, named: str) -> None:
    assert any(named in text for text in receptive_field(Function(function), SHAPE).over_image)


def attend(x: Tensor) -> Tensor:
    tokens = x.flatten(2)
    return ((tokens.transpose(1, 2) @ tokens).softmax(-1) @ tokens.transpose(1, 2)).mT.view_as(x)


REFUSED = {
    "relates all pixels": attend,
    "mixes or moves all pixels": lambda x: x.flip(2),
    "align_corners": lambda x: F.interpolate(
        x, scale_factor=2, mode="bilinear", align_corners=True
    ),
    "distance from another border": lambda x: x[:, :, -8:],
    "'getitem' depends on the size of the image": lambda x: x[:, :, :40],
    "has no rule for pixels": lambda x: x.repeat(1, 1, 2, 2),
    "joins images side by side": lambda x: torch.cat([x, x], 2),
    "cuts the image into parts": lambda x: x.view(1, 4, 8, 6, 64).mean(2),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_form_in_tiles_is_refused_by_name(reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        receptive_field(Function(REFUSED[reason]), SHAPE)


def test_a_network_that_centres_a_small_image_is_refused_where_it_does_so() -> None:
    def centre(x: Tensor) -> Tensor:
        more = -x.shape[2] % 32
        return F.avg_pool2d(F.pad(x, (0, 0, more // 2, more - more // 2)), 32)

    with pytest.raises(ConfigError, match=r"'pad' depends on the size.*test_receptive_field\.py"):
        receptive_field(Function(centre), SHAPE)

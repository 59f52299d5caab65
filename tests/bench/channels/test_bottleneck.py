"""The narrowest place at full resolution that every path of a network leads through."""

import pytest
import torch
from torch import Tensor, nn

from bench.channels.bottleneck import Bottleneck, find_bottleneck
from bench.channels.units import channel_layout
from bench.contract import Kept
from bench.graph.lowering import trace
from bench.surgery.remove import remove_channels
from tasks.models.edsr import EDSR
from tests.networks.small import SHAPE, Residual, Shuffled, unet


def bottleneck_of(network: nn.Module, kept: Kept | None = None) -> Bottleneck | None:
    graph = trace(remove_channels(network, kept or {}, SHAPE), SHAPE)
    return find_bottleneck(graph, channel_layout(graph))


@pytest.mark.parametrize(
    "unit", ["encoder.0.c11", "encoder.0.c12", "decoder.d1.d11", "decoder.d1.d12"]
)
@pytest.mark.parametrize("residual", [False, True])
def test_a_narrow_layer_at_full_resolution_is_found(unit: str, residual: bool) -> None:
    network = unet(8, residual=residual)
    assert bottleneck_of(network, {unit: [5]}) == ((unit,), 1)


@pytest.mark.parametrize("unit", ["up.u1", "encoder.1.c21", "compactors.encoder_0_act2"])
def test_a_layer_at_lower_resolution_or_beside_another_path_is_none(unit: str) -> None:
    network = unet(8, compactors=True)
    assert bottleneck_of(network, {unit: [5]}) == (("encoder.0.c11",), 8)


def test_the_inside_of_a_residual_block_has_a_path_beside_it() -> None:
    assert bottleneck_of(Residual(), {"first.0": [0]}) == (("head",), 6)
    assert bottleneck_of(Residual(), {"head": [0, 1]}) == (("head",), 2)


def test_the_resolution_is_that_of_the_input_where_the_output_is_larger() -> None:
    network = EDSR(width=8, blocks=1)
    assert bottleneck_of(network) == (("head",), 8)
    assert bottleneck_of(network, {"up.u1": [0, 3]}) == (("up.u1",), 2)


def test_a_network_that_works_at_half_resolution_has_only_its_last_layers() -> None:
    assert bottleneck_of(Shuffled(), {"head": [0]}) == (("up.0",), 6)


def test_channels_that_are_joined_from_two_units_count_together() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 1, 1)
            self.out = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.cat([self.left(x), self.right(x)], 1))

    assert bottleneck_of(Joined()) == (("left", "right"), 3)


def test_a_network_without_anything_to_prune_has_none() -> None:
    assert bottleneck_of(nn.Conv2d(3, 3, 1)) is None

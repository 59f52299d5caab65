"""The form of a network in which numbers of channels that its code knows may change."""

import pytest
import torch
from torch import Tensor, nn

from bench.channels.units import channel_layout
from bench.channels.written_form import write_out
from bench.graph.lowering import trace
from tests.networks.refused import REFUSED, Around
from tests.networks.small import unet

SHAPE = (1, 3, 16, 16)


@pytest.mark.parametrize(
    "habit",
    ["channel shuffle", "slices by constants", "split into sizes", "a layer called twice"],
)
def test_code_that_counts_channels_is_written_out_and_can_be_pruned(habit: str) -> None:
    network = REFUSED[habit][0]().eval()
    assert not channel_layout(trace(network, SHAPE)).units
    written = write_out(network, SHAPE)
    assert "head" in channel_layout(trace(written, SHAPE)).units
    x = torch.rand(2, 3, 24, 12)
    assert torch.equal(written(x), network(x))


def test_a_network_that_surgery_can_prune_stays_as_it_is() -> None:
    network = unet(8)
    assert write_out(network, SHAPE) is network


class AddsNoise(Around):
    def middle(self, x: Tensor) -> Tensor:
        noise = x.new_empty(x.shape[0], 1, x.shape[2], x.shape[3]).normal_()
        return x + noise + torch.randn_like(x[:, :1])


def test_a_network_that_adds_noise_has_channels_to_remove() -> None:
    network: nn.Module = write_out(AddsNoise(), SHAPE)
    assert set(channel_layout(trace(network, SHAPE)).units) == {"head"}

"""Restormer: its published numbers, what its attention computes, and its initialisation."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.channels.units import channel_layout
from bench.graph.lowering import trace
from tasks.models.initialisation import initialise
from tasks.models.restormer import Attention, Restormer

SHAPE = (1, 3, 64, 64)
SMALL = {"level1": 1, "level2": 1, "level3": 1, "level4": 1, "refinement": 1}


def test_parameters_are_those_of_the_published_network() -> None:
    with torch.device("meta"):
        assert sum(weight.numel() for weight in Restormer().parameters()) == 26_126_644


def test_its_convolutions_need_the_published_141_g_macs() -> None:
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter, torch.no_grad():
        Restormer()(torch.empty(1, 3, 256, 256))
    flops = counter.get_flop_counts()["Global"]
    assert round(flops[torch.ops.aten.convolution] / 2e9) == 141


def test_attention_mixes_the_channels_of_a_head_by_their_normalised_products() -> None:
    attention, x = Attention(4, heads=2), torch.rand(1, 4, 3, 5)
    query, key, value = (part.reshape(2, 2, 15) for part in attention.qkv(x)[0].chunk(3))
    cosines = torch.nn.functional.cosine_similarity(query[:, :, None], key[:, None], dim=-1)
    mixed = torch.einsum("hij,hjp->hip", cosines.softmax(-1), value)
    expected = attention.out(mixed.reshape(1, 4, 3, 5))
    assert torch.allclose(attention(x), expected, atol=1e-6)


def test_it_is_traced_and_its_feed_forward_layers_can_be_pruned() -> None:
    widths = channel_layout(trace(Restormer(4, **SMALL), SHAPE)).widths
    assert sum("feed_forward" in unit for unit in widths) == 8


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width = 7; give an even number"):
        Restormer(7)


def test_initialisation_resets_the_temperature_and_keeps_the_signal() -> None:
    network = Restormer(8, **SMALL)
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(0.5)
    initialise(network, torch.Generator().manual_seed(0))
    assert network.encoder[3][0].attention[1].temperature.eq(1).all()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    assert 0.1 < (network(x) - x).std() < 10

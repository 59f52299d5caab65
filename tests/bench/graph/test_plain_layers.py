"""Layers that are replaced by plain ones before a network is traced."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from bench.channels.units import channel_layout
from bench.channels.written_form import write_out
from bench.errors import ConfigError
from bench.graph.lowering import trace
from bench.graph.plain_layers import Attention
from bench.surgery.remove import remove_channels

SHAPE = (1, 3, 12, 12)


@pytest.mark.parametrize("norm", [spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_is_folded_in_a_copy_and_can_be_pruned(norm: Callable) -> None:
    network = nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Conv2d(4, 3, 3)).eval()
    before, x = set(network.state_dict()), torch.rand(SHAPE)
    written = write_out(network, SHAPE)
    assert torch.allclose(written(x), network(x), atol=1e-6)
    assert set(network.state_dict()) == before
    assert remove_channels(written, {"0": [1, 2]}, SHAPE)(x).shape == network(x).shape
    with pytest.raises(ConfigError, match="shares a weight"):
        channel_layout(trace(network, SHAPE)).check_prunable()


@pytest.mark.parametrize("hidden", [torch.bool, torch.float32])
@pytest.mark.parametrize("options", [{}, {"kdim": 4, "vdim": 6, "bias": False}])
def test_attention_gives_what_that_of_torch_does(hidden: torch.dtype, options: dict) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True, **options).eval()
    query, key, value = torch.rand(2, 3, 8), torch.rand(2, 5, 8), torch.rand(2, 5, 8)
    key, value = key[..., : options.get("kdim", 8)], value[..., : options.get("vdim", 8)]
    mask = torch.rand(3, 5).round().triu().to(hidden)
    expected = layer(query, key, value, attn_mask=mask)
    for found, wanted in zip(
        Attention(layer)(query, key, value, attn_mask=mask), expected, strict=True
    ):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_a_network_that_keeps_tensors_of_a_run_is_refused_in_one_line() -> None:
    network = nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3)), nn.Conv2d(4, 3, 3))
    network.kept = [network(torch.rand(SHAPE))]
    with pytest.raises(ConfigError, match=r"Sequential keeps tensors of a run.*no_grad"):
        trace(network, SHAPE)

"""Masks leave no trace."""

import pytest
import torch

from bench.surgery.masks import mask_channels
from tests.networks.small import SHAPE, network_layout, unet


def test_weights_are_put_back_exactly_even_after_an_error() -> None:
    network = unet()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    with (
        pytest.raises(RuntimeError),
        mask_channels(network, network_layout(network), {"encoder.0.c12": [0], "up.u2": [1]}),
    ):
        raise RuntimeError
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


def test_both_consumers_of_a_skip_are_masked_at_their_own_slots() -> None:
    network = unet()
    with mask_channels(network, network_layout(network), {"encoder.0.c12": [0, 2]}):
        pooled = network.encoder[1].c21.weight
        decoder = network.decoder["d1"].d11.weight
        skip = [True, False, True, False]
        assert pooled.abs().sum((0, 2, 3)).gt(0).tolist() == skip
        assert decoder.abs().sum((0, 2, 3)).gt(0).tolist() == [True] * 4 + skip


def test_a_mask_within_a_mask_is_undone_in_order() -> None:
    network = unet()
    x = torch.rand(SHAPE)
    layout = network_layout(network)
    with torch.no_grad(), mask_channels(network, layout, {"up.u1": [0, 1, 2]}):
        outer = network(x)
        with mask_channels(network, layout, {"up.u1": [0, 1]}):
            assert not torch.equal(network(x), outer)
        assert torch.equal(network(x), outer)

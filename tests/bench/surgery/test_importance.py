"""Scores against slower or closed forms."""

import pytest
import torch
from torch import Tensor, nn

from bench.surgery.importance import (
    activation_scores,
    channel_norms,
    gate_gradients,
    normalised_norms,
    select_most_important,
)
from tests.networks.public import build_with_seed
from tests.networks.rescaled import rescale_units
from tests.networks.small import SHAPE, Residual, Shuffled, network_layout, unet


def _loss(restored: Tensor, clean: Tensor) -> Tensor:
    return (restored - clean).square().mean()


def _batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(2, *SHAPE[1:], generator=generator) for _ in range(4)]
    return [(images[0], images[1]), (images[2], images[3])]


def test_the_gate_gradient_is_the_derivative_by_the_weights_that_read_the_channel() -> None:
    network = unet()
    batches = _batches()
    scores = gate_gradients(network, network_layout(network), batches, _loss)["up.u1"]
    weight = network.decoder["d1"].d11.weight
    total = torch.zeros(4)
    for degraded, clean in batches:
        for photo, target in zip(degraded, clean, strict=True):
            (gradient,) = torch.autograd.grad(_loss(network(photo[None]), target[None]), weight)
            total += (gradient * weight).sum((0, 2, 3))[:4].detach().abs()
    torch.testing.assert_close(scores, total / 4, rtol=1e-4, atol=1e-8)


def test_tied_layers_sum_their_gradients_before_the_absolute_value() -> None:
    network = Residual()
    batches = _batches()[:1]
    layout = network_layout(network)
    tied = gate_gradients(network, layout, batches, _loss)["head"]
    degraded, clean = batches[0]
    readers = [network.first[0].weight, network.first[1].weight, network.tail.weight]
    per_image = []
    for photo, target in zip(degraded, clean, strict=True):
        gradients = torch.autograd.grad(_loss(network(photo[None]), target[None]), readers)
        slopes = [(g * w).sum((0, 2, 3)) for g, w in zip(gradients, readers, strict=True)]
        per_image.append(sum(slopes).detach().abs())
    torch.testing.assert_close(tied, torch.stack(per_image).mean(0), rtol=1e-4, atol=1e-8)


def test_norms_of_transposed_convolutions_are_taken_over_their_output_channels() -> None:
    network = unet()
    scores = channel_norms(network, network_layout(network))
    torch.testing.assert_close(
        scores["up.u1"], network.up["u1"].weight.detach().square().sum((0, 2, 3)).sqrt()
    )


def test_the_norm_of_tied_layers_is_their_root_mean_square() -> None:
    network = Residual()
    layers = [network.head, network.second[0], network.second[1]]
    squares = torch.stack([layer.weight.detach().square().sum((1, 2, 3)) for layer in layers])
    torch.testing.assert_close(
        channel_norms(network, network_layout(network))["head"], squares.mean(0).sqrt()
    )


class Joined(nn.Module):
    """A layer that reads a unit and the image, behind a concat."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 5, 3, padding=1)
        self.body = nn.Conv2d(8, 4, 3, padding=1)
        self.tail = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(self.body(torch.cat([self.head(x), x], 1)))


def test_the_normalised_norm_is_the_mean_over_inputs_of_relative_squares() -> None:
    network = build_with_seed(Joined)
    squares = network.body.weight.detach().square().sum((2, 3))
    unit, image = squares[:, :5].sum(1), squares[:, 5:].sum(1)
    expected = (5 / 8 * unit / unit.mean() + 3 / 8 * image / image.mean()).sqrt()
    found = normalised_norms(network, network_layout(network))["body"]
    torch.testing.assert_close(found, expected)


RESCALED = {
    "unet": (unet, {"encoder.0.c12": 10.0, "up.u1": 0.1, "decoder.d1.d11": 0.1}),
    "a deep level": (unet, {"encoder.2.c31": 10.0, "encoder.2.c32": 0.1, "up.u3": 10.0}),
    "tied": (lambda: build_with_seed(Residual), {"head": 10.0, "first.1": 0.1}),
    "shuffled": (lambda: build_with_seed(Shuffled), {"head": 0.1, "up.0": 10.0}),
}


@pytest.mark.parametrize("name", RESCALED)
def test_rescaling_whole_units_changes_raw_norms_and_leaves_normalised_ones(name: str) -> None:
    build, factors = RESCALED[name]
    network, rescaled = build(), build()
    layout = network_layout(network)
    rescale_units(rescaled, layout, factors)
    x = torch.rand(SHAPE)
    torch.testing.assert_close(rescaled(x), network(x), rtol=1e-4, atol=1e-5)
    raw, raw_after = channel_norms(network, layout), channel_norms(rescaled, layout)
    before, after = normalised_norms(network, layout), normalised_norms(rescaled, layout)
    for unit in layout.units:
        torch.testing.assert_close(after[unit], before[unit], rtol=1e-5, atol=0)
    for unit, factor in factors.items():
        assert not torch.allclose(raw_after[unit], raw[unit], rtol=0.1), factor


def test_layers_of_zeros_have_scores_of_zero_and_no_nan() -> None:
    network = unet()
    nn.init.zeros_(network.decoder["d1"].d11.weight)
    assert not normalised_norms(network, network_layout(network))["decoder.d1.d11"].any()


def test_a_channel_that_is_always_zero_has_no_importance() -> None:
    network = unet()
    torch.nn.init.zeros_(network.up["u1"].weight[:, 2])
    layout = network_layout(network)
    batches = _batches()
    assert gate_gradients(network, layout, batches, _loss)["up.u1"][2] == 0
    assert activation_scores(network, layout, batches)["up.u1"][2] == 0


@pytest.mark.parametrize(("count", "kept"), [(1, [2]), (2, [1, 2]), (3, [0, 1, 2])])
def test_the_highest_scores_stay_and_of_equal_ones_the_last(count: int, kept: list[int]) -> None:
    assert select_most_important(torch.tensor([0.5, 0.5, 0.7]), count) == kept


def test_no_hooks_are_left_behind() -> None:
    network = unet()
    gate_gradients(network, network_layout(network), _batches(), _loss)
    activation_scores(network, network_layout(network), _batches())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())

"""Generated weights: the equations pair by pair, checks (c) and (e), and who shares a latent with whom."""

from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from bench.channels.units import STAYS
from bench.surgery.importance import channel_norms
from methods.dhp.hypernetwork import Hypernetwork, LayerWeights, Mixed
from tests.networks.public import PUBLIC, shape_of
from tests.networks.small import SHAPE, layout_at, layout_of, unet

PACE = 0.25


def _hypernetwork(network: nn.Module) -> Hypernetwork:
    return Hypernetwork(network, layout_of(network), 8, PACE, 0)


def _of_pair(one: LayerWeights, row: int, column: int, latents: Tensor) -> Tensor:
    """(pixels,): the equations for one input and one output channel."""
    w1, w2, b0, b1, b2 = (PACE * stored for stored in (one.w1, one.w2, one.b0, one.b1, one.b2))
    outer = latents[one.of_rows[row]] * latents[one.of_columns[column]] + b0[row, column]
    embedded = outer * w1[:, row, column] + b1[:, row, column]
    pixels = (slice(None), slice(column, None, b0.shape[1]))
    return w2[:, row][pixels].T @ embedded + b2[row][pixels[1]]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, (1, 5), groups=2),
        nn.ConvTranspose2d(4, 6, 2, stride=2),
        nn.ConvTranspose2d(4, 6, 3, groups=2),
        nn.Linear(4, 6),
        nn.Conv1d(4, 6, 3),
    ],
    ids=str,
)
def test_the_weights_of_each_pair_of_channels_follow_the_equations(layer: nn.Module) -> None:
    draws, groups = torch.Generator().manual_seed(0), getattr(layer, "groups", 1)
    outputs, inputs = (
        torch.arange(6 // groups).repeat(groups),
        6 + torch.arange(4 // groups).repeat(groups),
    )  # alike in all groups
    one, latents = (
        LayerWeights(layer, outputs, inputs, 3, PACE, draws),
        torch.randn(10, generator=draws),
    )
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_(generator=draws)
        weight = one(latents)
        assert weight.shape == layer.weight.shape
        transposed = isinstance(layer, nn.ConvTranspose2d)
        for row, column in product(*map(range, weight.shape[:2])):
            assert int(one.of_rows[row]) == (inputs[row] if transposed else outputs[row])
            assert int(one.of_columns[column]) == (
                outputs[column] if transposed else inputs[column]
            )
            torch.testing.assert_close(
                weight[row, column].flatten(), _of_pair(one, row, column, latents)
            )


def test_the_sum_over_the_embedding_has_the_gradient_of_its_formula() -> None:
    draws = torch.Generator().manual_seed(0)
    w2 = torch.randn(3, 2, 4, 5, generator=draws, dtype=torch.float64, requires_grad=True)
    embedded = torch.randn(3, 2, 1, 5, generator=draws, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(Mixed.apply(w2, embedded), (w2 * embedded).sum(0))
    assert torch.autograd.gradcheck(Mixed.apply, (w2, embedded))


def test_the_loss_reaches_every_latent_and_every_part_of_the_hypernetwork() -> None:
    network = unet(2).train()
    hypernetwork = _hypernetwork(network)
    hypernetwork.run(
        network, torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    ).square().mean().backward()
    for name, parameter in hypernetwork.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name
    assert (hypernetwork.latents.grad != 0).all()


def test_weights_start_with_the_variance_of_the_fan_in_of_their_whole_input() -> None:
    network = unet(16)
    hypernetwork = _hypernetwork(network)
    wide = {
        name: one
        for name, one in zip(hypernetwork.names, hypernetwork.layers, strict=True)
        if min(one.b0.shape) >= 64
    }
    assert len(wide) == 11
    weights, latents = (
        {name: weight.detach() for name, weight in hypernetwork.weights().items()},
        hypernetwork.latents.detach(),
    )
    for name, one in wide.items():
        layer = network.get_submodule(name.removesuffix(".weight"))
        moments = [latents[part].square().mean() for part in (one.of_rows, one.of_columns)]
        fan_in = (
            layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
        )  # of a concat, both segments
        expected = float(moments[0] * moments[1]) / fan_in
        assert float(weights[name].var()) == pytest.approx(expected, rel=0.2), name
        assert float(weights[name].mean()) == pytest.approx(0, abs=0.1 * expected**0.5)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(128, 64, 3, groups=2), nn.ConvTranspose2d(128, 64, 3, groups=2)], ids=str
)
def test_in_a_grouped_convolution_the_fan_in_is_that_of_one_group(layer: nn.Module) -> None:
    draws = torch.Generator().manual_seed(0)
    one = LayerWeights(
        layer,
        torch.zeros(64, dtype=torch.int64),
        torch.zeros(128, dtype=torch.int64),
        8,
        PACE,
        draws,
    )
    assert float(one(torch.ones(1)).detach().var()) == pytest.approx(1 / (64 * 9), rel=0.1)


def test_a_pace_starts_from_the_same_weights_and_slows_what_they_are_made_of() -> None:
    latents, everywhere, moved = torch.linspace(0.5, 1, 4), torch.arange(4), []
    ones = [
        LayerWeights(
            nn.Conv2d(4, 4, 3), everywhere, everywhere, 8, pace, torch.Generator().manual_seed(0)
        )
        for pace in (1.0, 0.25)
    ]
    before = [one(latents).detach() for one in ones]
    torch.testing.assert_close(*before)
    for one, start in zip(ones, before, strict=True):
        optimizer = torch.optim.Adam(one.parameters(), lr=1e-3)
        one(latents).sum().backward()
        optimizer.step()
        moved.append((start - one(latents)).detach())
    torch.testing.assert_close(moved[1], 0.25 * moved[0], rtol=0.02, atol=1e-5)
    outer = torch.outer(latents, latents)
    assert float(
        (moved[0].mean((2, 3)) / (1e-3 * (1 + 8 * outer * 3**0.5 / 2))).mean()
    ) == pytest.approx(1, rel=0.2)  # 1 + sum |E|


def test_tied_layers_share_latents_and_those_before_a_pixel_shuffle_repeat_them() -> None:
    network = PUBLIC["edsr x2"]()
    hypernetwork = _hypernetwork(network)
    layers = dict(zip(hypernetwork.names, hypernetwork.layers, strict=True))
    trunk = layers["head.weight"].of_rows
    for name in ("blocks.0.2", "blocks.1.2", "body_end"):
        assert torch.equal(layers[f"{name}.weight"].of_rows, trunk)
    assert torch.equal(layers["up.0.weight"].of_columns, trunk)
    assert torch.equal(
        layers["up.0.weight"].of_rows, layers["tail.weight"].of_columns.repeat_interleave(4)
    )
    others = [layers[name].of_rows for name in ("blocks.0.0.weight", "blocks.1.0.weight")]
    assert len(torch.cat([trunk, *others, layers["tail.weight"].of_columns]).unique()) == 4 * 6


def test_behind_a_skip_a_layer_has_the_latents_of_both_segments_in_their_order() -> None:
    network = unet(4)
    hypernetwork = _hypernetwork(network)
    layers = dict(zip(hypernetwork.names, hypernetwork.layers, strict=True))
    both = [layers["up.u1.weight"].of_columns, layers["encoder.0.c12.weight"].of_rows]
    assert torch.equal(layers["decoder.d1.d11.weight"].of_columns, torch.cat(both))


def test_channels_that_stay_have_latents_of_their_own_in_each_layer() -> None:
    network = unet(4)
    channels, hypernetwork = layout_of(network), _hypernetwork(network)
    own: list[int] = []
    for name, one in zip(hypernetwork.names, hypernetwork.layers, strict=True):
        path = name.removesuffix(".weight")
        transposed = isinstance(network.get_submodule(path), nn.ConvTranspose2d)
        ends = (
            (channels.makes, one.of_columns if transposed else one.of_rows),
            (channels.reads, one.of_rows if transposed else one.of_columns),
        )
        for places, found in ((places[path], found.numpy()) for places, found in ends):
            assert (found[places != STAYS] == places[places != STAYS]).all()
            own += found[places == STAYS].tolist()
    assert sorted(own) == list(range(channels.size, len(hypernetwork.latents)))


def test_frozen_layers_stay_and_what_is_not_generated_is_trained_as_it_is() -> None:
    network = PUBLIC["edsr x2"]()
    before = deepcopy(network)
    hypernetwork = _hypernetwork(network)
    hypernetwork.write(network)
    for shift in ("sub_mean", "add_mean"):
        for one, other in zip(
            network.get_submodule(shift).parameters(),
            before.get_submodule(shift).parameters(),
            strict=True,
        ):
            assert torch.equal(one, other)
    assert len(hypernetwork.names) == 8
    assert {id(weight) for weight in hypernetwork.free} == {
        id(network.get_submodule(name.removesuffix(".weight")).bias) for name in hypernetwork.names
    }
    hypernetwork.zero_biases(network)
    assert all((weight == 0).all() for weight in hypernetwork.free)


@pytest.mark.parametrize("name", ["edsr x2", "srresnet x2", "nafnet"])
def test_it_can_start_at_the_weights_of_a_network(name: str) -> None:
    network = PUBLIC[name]()
    before, channels = deepcopy(network), layout_at(network, shape_of(name))
    hypernetwork = _hypernetwork(network)
    hypernetwork.reproduce(
        network,
        torch.cat([score / score.mean() for score in channel_norms(network, channels).values()]),
    )
    hypernetwork.write(network)
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["nafnet", "srresnet x2", "hinet"])
def test_every_trainable_weight_is_either_generated_or_free(name: str) -> None:
    network = PUBLIC[name]()
    hypernetwork = Hypernetwork(network, layout_at(network, shape_of(name)), 8, PACE, 0)
    free = [
        one
        for one, weight in network.named_parameters()
        if any(weight is other for other in hypernetwork.free)
    ]
    assert sorted([*free, *hypernetwork.names]) == sorted(
        one for one, _ in network.named_parameters()
    )
    mixing = [
        f"{path}.weight"
        for path, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and getattr(layer, "groups", 1) == 1
    ]
    assert sorted(hypernetwork.names) == sorted(mixing)


class Twice(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.one, self.two, self.tail = (
            nn.Conv2d(*pair, 3, padding=1) for pair in ((3, 6), (6, 6), (6, 6), (6, 3))
        )
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.two(self.one(self.head(x))))


def test_a_weight_that_two_layers_share_is_generated_once_for_both() -> None:
    network = Twice()
    hypernetwork = Hypernetwork(network, layout_of(network), 8, PACE, 0)
    x = torch.rand(SHAPE)
    restored = hypernetwork.run(network, x)
    hypernetwork.write(network)
    assert network.two.weight is network.one.weight
    torch.testing.assert_close(network(x), restored)

"""Generated weights: the equations for pairs of channels, checks (c) and (e), shared latents."""

from copy import deepcopy
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from bench.channels.units import STAYS
from bench.surgery.importance import channel_norms
from methods.dhp.hypernetwork import Hypernetwork, LayerWeights, WeightedSum
from methods.dhp.latents import spread_by_rank
from tests.networks.public import PUBLIC, input_shape
from tests.networks.small import SHAPE, network_layout, unet

PACE = 0.25


def _make_hypernetwork(network: nn.Module) -> Hypernetwork:
    return Hypernetwork(network, network_layout(network), 8, PACE, 0)


def _pair_weights(weights: LayerWeights, row: int, column: int, latents: Tensor) -> Tensor:
    """The equations for one input and one output channel, (pixels,)."""
    stored = (weights.w1, weights.w2, weights.b0, weights.b1, weights.b2)
    w1, w2, b0, b1, b2 = (PACE * tensor for tensor in stored)
    row_latent = latents[weights.row_latents[row]]
    column_latent = latents[weights.column_latents[column]]
    outer = row_latent * column_latent + b0[row, column]
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
    generator = torch.Generator().manual_seed(0)
    groups = getattr(layer, "groups", 1)
    # All groups have the same latents.
    outputs = torch.arange(6 // groups).repeat(groups)
    inputs = 6 + torch.arange(4 // groups).repeat(groups)
    weights = LayerWeights(layer, outputs, inputs, 3, PACE, generator)
    latents = torch.randn(10, generator=generator)
    with torch.no_grad():
        for parameter in weights.parameters():
            parameter.normal_(generator=generator)
        weight = weights(latents)
        assert weight.shape == layer.weight.shape
        transposed = isinstance(layer, nn.ConvTranspose2d)
        rows, columns = (inputs, outputs) if transposed else (outputs, inputs)
        for row, column in product(*map(range, weight.shape[:2])):
            assert weights.row_latents[row] == rows[row]
            assert weights.column_latents[column] == columns[column]
            expected = _pair_weights(weights, row, column, latents)
            torch.testing.assert_close(weight[row, column].flatten(), expected)


def test_the_sum_over_the_embedding_has_the_gradient_of_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    w2 = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    embedded = torch.randn(3, 2, 1, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(WeightedSum.apply(w2, embedded), (w2 * embedded).sum(0))
    assert torch.autograd.gradcheck(WeightedSum.apply, (w2, embedded))


def test_the_loss_reaches_every_latent_and_every_part_of_the_hypernetwork() -> None:
    network = unet(2).train()
    hypernetwork = _make_hypernetwork(network)
    inputs = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    hypernetwork.run(network, inputs).square().mean().backward()
    for name, parameter in hypernetwork.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name
    assert (hypernetwork.latents.grad != 0).all()


def test_weights_start_with_the_variance_of_the_fan_in_of_their_whole_input() -> None:
    network = unet(16)
    hypernetwork = _make_hypernetwork(network)
    layers = zip(hypernetwork.names, hypernetwork.layers, strict=True)
    wide = {name: layer for name, layer in layers if min(layer.b0.shape) >= 64}
    assert len(wide) == 11
    weights = {name: weight.detach() for name, weight in hypernetwork.generate_weights().items()}
    latents = hypernetwork.latents.detach()
    for name, generated in wide.items():
        layer = network.get_submodule(name.removesuffix(".weight"))
        row_moment = latents[generated.row_latents].square().mean()
        column_moment = latents[generated.column_latents].square().mean()
        # Of a concat, in_channels counts both segments.
        fan_in = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
        expected = float(row_moment * column_moment) / fan_in
        assert float(weights[name].var()) == pytest.approx(expected, rel=0.2), name
        assert float(weights[name].mean()) == pytest.approx(0, abs=0.1 * expected**0.5)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(128, 64, 3, groups=2), nn.ConvTranspose2d(128, 64, 3, groups=2)], ids=str
)
def test_in_a_grouped_convolution_the_fan_in_is_that_of_one_group(layer: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.zeros(64, dtype=torch.int64)
    inputs = torch.zeros(128, dtype=torch.int64)
    weights = LayerWeights(layer, outputs, inputs, 8, PACE, generator)
    assert float(weights(torch.ones(1)).detach().var()) == pytest.approx(1 / (64 * 9), rel=0.1)


def test_a_pace_starts_from_the_same_weights_and_slows_what_they_are_made_of() -> None:
    latents = torch.linspace(0.5, 1, 4)
    indices = torch.arange(4)
    starts = []
    moves = []
    for pace in (1.0, 0.25):
        generator = torch.Generator().manual_seed(0)
        weights = LayerWeights(nn.Conv2d(4, 4, 3), indices, indices, 8, pace, generator)
        starts.append(weights(latents).detach())
        optimizer = torch.optim.Adam(weights.parameters(), lr=1e-3)
        weights(latents).sum().backward()
        optimizer.step()
        moves.append((starts[-1] - weights(latents)).detach())
    torch.testing.assert_close(*starts)
    torch.testing.assert_close(moves[1], 0.25 * moves[0], rtol=0.02, atol=1e-5)
    expected = 1e-3 * (1 + 8 * torch.outer(latents, latents) * 3**0.5 / 2)  # 1 + sum |E|
    assert float((moves[0].mean((2, 3)) / expected).mean()) == pytest.approx(1, rel=0.2)


def test_tied_layers_share_latents_and_those_before_a_pixel_shuffle_repeat_them() -> None:
    network = PUBLIC["edsr x2"]()
    hypernetwork = _make_hypernetwork(network)
    layers = dict(zip(hypernetwork.names, hypernetwork.layers, strict=True))
    trunk = layers["head.weight"].row_latents
    for name in ("blocks.0.2", "blocks.1.2", "body_end"):
        assert torch.equal(layers[f"{name}.weight"].row_latents, trunk)
    assert torch.equal(layers["up.0.weight"].column_latents, trunk)
    tail = layers["tail.weight"].column_latents
    assert torch.equal(layers["up.0.weight"].row_latents, tail.repeat_interleave(4))
    others = [layers[name].row_latents for name in ("blocks.0.0.weight", "blocks.1.0.weight")]
    assert len(torch.cat([trunk, *others, tail]).unique()) == 4 * 6


def test_behind_a_skip_a_layer_has_the_latents_of_both_segments_in_their_order() -> None:
    network = unet(4)
    hypernetwork = _make_hypernetwork(network)
    layers = dict(zip(hypernetwork.names, hypernetwork.layers, strict=True))
    both = [layers["up.u1.weight"].column_latents, layers["encoder.0.c12.weight"].row_latents]
    assert torch.equal(layers["decoder.d1.d11.weight"].column_latents, torch.cat(both))


def test_channels_that_stay_have_latents_of_their_own_in_each_layer() -> None:
    network = unet(4)
    layout = network_layout(network)
    hypernetwork = _make_hypernetwork(network)
    own: list[int] = []
    for name, weights in zip(hypernetwork.names, hypernetwork.layers, strict=True):
        path = name.removesuffix(".weight")
        transposed = isinstance(network.get_submodule(path), nn.ConvTranspose2d)
        outputs, inputs = weights.row_latents, weights.column_latents
        if transposed:
            outputs, inputs = inputs, outputs
        for slots, latents in ((layout.makes[path], outputs), (layout.reads[path], inputs)):
            indices = latents.numpy()
            assert (indices[slots != STAYS] == slots[slots != STAYS]).all()
            own += indices[slots == STAYS].tolist()
    assert sorted(own) == list(range(layout.size, len(hypernetwork.latents)))


def test_frozen_layers_stay_and_what_is_not_generated_is_trained_as_it_is() -> None:
    network = PUBLIC["edsr x2"]()
    before = deepcopy(network)
    hypernetwork = _make_hypernetwork(network)
    hypernetwork.write_weights(network)
    for shift in ("sub_mean", "add_mean"):
        frozen = before.get_submodule(shift).state_dict()
        for name, weight in network.get_submodule(shift).named_parameters():
            assert torch.equal(weight, frozen[name])
    assert len(hypernetwork.names) == 8
    assert {id(weight) for weight in hypernetwork.free} == {
        id(network.get_submodule(name.removesuffix(".weight")).bias) for name in hypernetwork.names
    }
    hypernetwork.zero_biases(network)
    assert all((weight == 0).all() for weight in hypernetwork.free)


@pytest.mark.parametrize("name", ["edsr x2", "srresnet x2", "nafnet"])
def test_it_can_start_at_the_weights_of_a_network(name: str) -> None:
    network = PUBLIC[name]()
    before = deepcopy(network)
    layout = network_layout(network, input_shape(name))
    hypernetwork = _make_hypernetwork(network)
    latents = [spread_by_rank(score) for score in channel_norms(network, layout).values()]
    hypernetwork.reproduce(network, torch.cat(latents))
    hypernetwork.write_weights(network)
    for weight, original in zip(network.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(weight, original, rtol=1e-4, atol=1e-5)


def test_from_a_pretrained_network_a_step_moves_no_weight_far_also_between_short_latents() -> None:
    network = unet(16)
    layout = network_layout(network)
    latents = torch.cat([spread_by_rank(s) for s in channel_norms(network, layout).values()])
    inputs = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    moves = []
    for shortest in (0.0, 1.0):
        hypernetwork = _make_hypernetwork(network)
        hypernetwork.reproduce(network, latents.clamp_min(shortest))
        before = hypernetwork.generate_weights()
        optimizer = torch.optim.Adam(hypernetwork.parameters(), lr=1e-3)
        hypernetwork.run(network, inputs).square().mean().backward()
        optimizer.step()
        after = hypernetwork.generate_weights()
        moves.append([(after[name] - weight).abs() for name, weight in before.items()])
    assert max(float(move.detach().max()) for move in moves[0]) < 0.05
    spread, equal = (torch.stack([move.detach().norm() for move in each]) for each in moves)
    assert (spread < 1.3 * equal).all()


@pytest.mark.parametrize("name", ["nafnet", "srresnet x2", "hinet"])
def test_every_trainable_weight_is_either_generated_or_free(name: str) -> None:
    network = PUBLIC[name]()
    hypernetwork = Hypernetwork(network, network_layout(network, input_shape(name)), 8, PACE, 0)
    weights = dict(network.named_parameters())
    free_ids = {id(weight) for weight in hypernetwork.free}
    free = [weight_name for weight_name, weight in weights.items() if id(weight) in free_ids]
    assert sorted([*free, *hypernetwork.names]) == sorted(weights)
    mixing = [
        f"{path}.weight"
        for path, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and getattr(layer, "groups", 1) == 1
    ]
    assert sorted(hypernetwork.names) == sorted(mixing)


class SharedWeight(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.tail = nn.Conv2d(6, 3, 3, padding=1)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.second(self.first(self.head(x))))


def test_a_weight_that_two_layers_share_is_generated_once_for_both() -> None:
    network = SharedWeight()
    hypernetwork = Hypernetwork(network, network_layout(network), 8, PACE, 0)
    x = torch.rand(SHAPE)
    restored = hypernetwork.run(network, x)
    hypernetwork.write_weights(network)
    assert network.second.weight is network.first.weight
    torch.testing.assert_close(network(x), restored)

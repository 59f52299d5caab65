"""Least-squares updates against a direct solution, and their effect on the outputs of a network."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.channels.units import Layout
from bench.contract import Kept
from bench.surgery.least_squares import layer_outputs, update_weights
from bench.surgery.remove import remove_channels
from tests.networks.habits import HABITS
from tests.networks.public import PUBLIC
from tests.networks.small import SHAPE, Residual, draw_kept, network_layout, unet

NETWORKS = {
    "u-net": unet,
    "residual": lambda: _seed_network(Residual),
    **{name: PUBLIC[name] for name in ("edsr x2", "dncnn", "srresnet x2")},
}
# With depthwise layers, and with normalisation over channels.
NETWORKS |= {name: PUBLIC[name] for name in ("nafnet", "hinet")}


def _seed_network(make: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def _crops(count: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=dtype)


def _cut(network: nn.Module, seed: int = 0) -> tuple[nn.Module, Kept, Layout]:
    layout = network_layout(network)
    kept = draw_kept(layout, seed, least=3)
    return remove_channels(network, kept, SHAPE, layout), kept, layout


class Tokens(nn.Module):
    """A linear layer over the channels of every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


LAYERS = {
    "stride": lambda: nn.Conv2d(8, 8, 3, stride=2, padding=1),
    "groups": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
    "reflected": lambda: nn.Conv2d(8, 8, 3, padding=2, dilation=2, padding_mode="reflect"),
    "transposed": lambda: nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1),
    "transposed in groups": lambda: nn.ConvTranspose2d(8, 8, 2, stride=2, groups=4),
    "linear": Tokens,
}


@pytest.mark.parametrize("kind", LAYERS)
def test_with_all_channels_any_layer_finds_back_to_its_weights(kind: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        LAYERS[kind](),
        nn.Conv2d(8, 3, 1),
    ).double()
    crops = _crops(dtype=torch.float64)
    astray = deepcopy(network)
    with torch.no_grad():
        for weight in astray[2].parameters():
            weight += 0.3 * torch.randn_like(weight)
    update_weights(
        astray,
        {},
        network_layout(network.float()),
        layer_outputs(network.double(), crops),
        crops,
        ridge=0.0,
        iterations=300,
    )
    for found, expected in zip(astray.parameters(), network.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-4)


def _solve_directly(layer: nn.Module, inputs: Tensor, target: Tensor, ridge: float) -> Tensor:
    """Solve the normal equations with unfolded patches.

    Weight and bias, (out, in * k * k + 1).
    """
    unfolded = functional.unfold(inputs, layer.kernel_size, padding=layer.padding)
    patches = unfolded.transpose(1, 2).flatten(0, 1)
    design = torch.cat([patches, patches.new_ones(len(patches), 1)], 1)
    residual = (target - layer(inputs)).permute(0, 2, 3, 1).flatten(0, 2)
    energy = ridge * inputs.square().mean() * len(design)
    normal = design.T @ design + energy * torch.eye(design.shape[1], dtype=design.dtype)
    return _rows(layer) + torch.linalg.solve(normal, design.T @ residual).T


def _rows(layer: nn.Module) -> Tensor:
    return torch.cat([layer.weight.flatten(1), layer.bias[:, None]], 1)


def test_cut_layers_get_the_direct_solution_each_from_what_updated_layers_give() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 3, 1)
    )
    kept = {"0": [0, 3, 4, 7], "2": [1, 2, 5]}
    layout = network_layout(network)
    crops = _crops(dtype=torch.float64)
    ridge = 1e-2
    cut = remove_channels(network, kept, SHAPE).double()
    network = network.double()
    smaller = deepcopy(cut)
    update_weights(
        smaller, kept, layout, layer_outputs(network, crops), crops, ridge, iterations=300
    )
    with torch.no_grad():
        second = _solve_directly(
            cut[2], smaller[:2](crops), network[:3](crops)[:, kept["2"]], ridge
        )
        third = _solve_directly(cut[3], smaller[:3](crops), network(crops), ridge)
        assert torch.allclose(_rows(smaller[2]), second, atol=1e-8)
        assert torch.allclose(_rows(smaller[3]), third, atol=1e-8)
        with_old_layer_2 = _solve_directly(cut[3], cut[:3](crops), network(crops), ridge)
        assert not torch.allclose(third, with_old_layer_2, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_with_all_channels_no_network_changes(name: str) -> None:
    network = NETWORKS[name]()
    same = deepcopy(network)
    update_weights(same, {}, network_layout(network), layer_outputs(network, _crops()), _crops())
    pairs = zip(same.parameters(), network.parameters(), strict=True)
    assert all(torch.allclose(after, before, atol=1e-4) for after, before in pairs)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cut_network_comes_nearer_to_the_unpruned_one_on_crops_that_it_has_not_seen(
    name: str,
) -> None:
    network = NETWORKS[name]()
    smaller, kept, layout = _cut(network)
    fresh = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = float((smaller(fresh) - network(fresh)).square().mean())
        update_weights(smaller, kept, layout, layer_outputs(network, _crops(16)), _crops(16))
        after = float((smaller(fresh) - network(fresh)).square().mean())
    # The middle of the U-Net has only 16 positions in 16 crops of 16x16.
    assert after < (0.7 if name == "u-net" else 0.5) * before


def test_frozen_weights_repeated_layers_and_hooks_are_left_alone() -> None:
    network = unet()
    network.encoder[1].c21.weight.requires_grad_(False)
    smaller, kept, layout = _cut(network)
    before = smaller.encoder[1].c21.weight.clone()
    update_weights(smaller, kept, layout, layer_outputs(network, _crops()), _crops())
    assert torch.equal(smaller.encoder[1].c21.weight, before)
    twice = nn.Conv2d(3, 3, 1)
    assert layer_outputs(nn.Sequential(twice, twice, nn.Conv2d(3, 4, 1)), _crops()).keys() == {"2"}
    layers = [*network.modules(), *smaller.modules()]
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_a_layer_that_is_given_the_size_of_its_output_is_updated() -> None:
    network = HABITS["size of the output by name"]()
    layout = network_layout(network)
    kept = draw_kept(layout, seed=0, least=3)
    smaller = remove_channels(network, kept, SHAPE, layout)
    before = deepcopy(smaller.state_dict())
    update_weights(smaller, kept, layout, layer_outputs(network, _crops()), _crops())
    assert not torch.equal(before["up.weight"], smaller.state_dict()["up.weight"])

"""Updating weights by least squares: against a direct solution, and that it brings the outputs of cut networks back."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.channels.units import Layout
from bench.contract import Kept
from bench.surgery.least_squares import layer_outputs, update_weights
from bench.surgery.remove import remove_channels
from tests.networks.public import PUBLIC
from tests.networks.small import SHAPE, Residual, layout_of, random_kept, unet

NETWORKS = {
    "u-net": unet,
    "residual": lambda: _seeded(Residual),
    **{name: PUBLIC[name] for name in ("edsr x2", "dncnn", "srresnet x2")},
}
NETWORKS |= {
    name: PUBLIC[name] for name in ("nafnet", "hinet")
}  # depthwise and normalising over channels


def _seeded(make: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def _crops(count: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=dtype)


def _cut(network: nn.Module, seed: int = 0) -> tuple[nn.Module, Kept, Layout]:
    channels = layout_of(network)
    kept = random_kept(channels, seed, least=3)
    return remove_channels(network, kept, SHAPE, channels), kept, channels


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
    crops, astray = _crops(dtype=torch.float64), deepcopy(network)
    with torch.no_grad():
        for weight in astray[2].parameters():
            weight += 0.3 * torch.randn_like(weight)
    update_weights(
        astray,
        {},
        layout_of(network.float()),
        layer_outputs(network.double(), crops),
        crops,
        ridge=0.0,
        iterations=300,
    )
    for found, expected in zip(astray.parameters(), network.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-4)


def _direct(layer: nn.Module, seen: Tensor, target: Tensor, ridge: float) -> Tensor:
    """(out, in * k * k + 1): weight and bias by unfolded patches and one solution of the normal equations."""
    patches = (
        functional.unfold(seen, layer.kernel_size, padding=layer.padding)
        .transpose(1, 2)
        .flatten(0, 1)
    )
    design = torch.cat([patches, patches.new_ones(len(patches), 1)], 1)
    miss = (target - layer(seen)).permute(0, 2, 3, 1).flatten(0, 2)
    energy = (
        ridge * seen.square().mean() * len(design) * torch.eye(design.shape[1], dtype=design.dtype)
    )
    return _rows(layer) + torch.linalg.solve(design.T @ design + energy, design.T @ miss).T


def _rows(layer: nn.Module) -> Tensor:
    return torch.cat([layer.weight.flatten(1), layer.bias[:, None]], 1)


def test_cut_layers_get_the_direct_solution_each_from_what_updated_layers_give() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 3, 1)
    )
    kept, channels, crops, ridge = (
        {"0": [0, 3, 4, 7], "2": [1, 2, 5]},
        layout_of(network),
        _crops(dtype=torch.float64),
        1e-2,
    )
    cut, network = remove_channels(network, kept, SHAPE).double(), network.double()
    smaller = deepcopy(cut)
    update_weights(
        smaller, kept, channels, layer_outputs(network, crops), crops, ridge, iterations=300
    )
    with torch.no_grad():
        second = _direct(cut[2], smaller[:2](crops), network[:3](crops)[:, kept["2"]], ridge)
        third = _direct(cut[3], smaller[:3](crops), network(crops), ridge)
        assert torch.allclose(_rows(smaller[2]), second, atol=1e-8)
        assert torch.allclose(_rows(smaller[3]), third, atol=1e-8)
        assert not torch.allclose(
            third, _direct(cut[3], cut[:3](crops), network(crops), ridge), atol=1e-3
        )  # with layer 2 as it was


@pytest.mark.parametrize("name", NETWORKS)
def test_with_all_channels_no_network_changes(name: str) -> None:
    network = NETWORKS[name]()
    same = deepcopy(network)
    update_weights(same, {}, layout_of(network), layer_outputs(network, _crops()), _crops())
    assert all(
        torch.allclose(one, other, atol=1e-4)
        for one, other in zip(same.parameters(), network.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cut_network_comes_nearer_to_the_unpruned_one_on_crops_that_it_has_not_seen(
    name: str,
) -> None:
    network = NETWORKS[name]()
    smaller, kept, channels = _cut(network)
    fresh = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = float((smaller(fresh) - network(fresh)).square().mean())
        update_weights(smaller, kept, channels, layer_outputs(network, _crops(16)), _crops(16))
        after = float((smaller(fresh) - network(fresh)).square().mean())
    assert (
        after < (0.7 if name == "u-net" else 0.5) * before
    )  # 16 crops of 16x16 show the U-Net's middle 16 positions only


def test_frozen_weights_repeated_layers_and_hooks_are_left_alone() -> None:
    network = unet()
    network.encoder[1].c21.weight.requires_grad_(False)
    smaller, kept, channels = _cut(network)
    before = smaller.encoder[1].c21.weight.clone()
    update_weights(smaller, kept, channels, layer_outputs(network, _crops()), _crops())
    assert torch.equal(smaller.encoder[1].c21.weight, before)
    twice = nn.Conv2d(3, 3, 1)
    assert layer_outputs(nn.Sequential(twice, twice, nn.Conv2d(3, 4, 1)), _crops()).keys() == {"2"}
    assert not any(
        layer._forward_hooks or layer._forward_pre_hooks
        for one in (network, smaller)
        for layer in one.modules()
    )

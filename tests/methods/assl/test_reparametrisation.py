"""Scales: the network stays the same, goes back to a plain one, and what is pressed to zero can go."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.surgery.importance import channel_norms
from bench.surgery.remove import remove_channels
from methods.assl.reparametrisation import GAMMA, Scales
from tests.networks.public import PUBLIC, seeded, shape_of
from tests.networks.small import Residual, Shuffled, layout_at, random_kept, unet


class Grouped(nn.Module):
    """A grouped convolution, a depthwise one, a BatchNorm and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.tail = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W), even H and W."""
        return self.tail(self.up(torch.relu(self.norm(self.depthwise(self.grouped(self.head(x)))))))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "residual": lambda: seeded(Residual),
    "shuffled": lambda: seeded(Shuffled),
    "grouped": lambda: seeded(Grouped),
    **{
        name: PUBLIC[name]
        for name in (
            "edsr x2",
            "srresnet x2",
            "dncnn",
            "res-u-net",
            "nafnet, viewed weights",
            "hinet",
        )
    },
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def _made(name: str) -> tuple[nn.Module, Scales, Tensor]:
    network, shape = NETWORKS[name](), shape_of(name)
    probe = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    return network, Scales(network, layout_at(network, shape), torch.device("cpu")), probe


def _shake(network: nn.Module) -> None:
    """New weights, as after a training."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * weight.abs().mean() * torch.randn(weight.shape, generator=generator)


def _largest(difference: Tensor, like: Tensor) -> float:
    return float(difference.abs().max() / like.abs().max())


@every_network
def test_a_network_computes_the_same_with_its_scales_apart(name: str) -> None:
    network, scales, x = _made(name)
    with torch.no_grad():
        assert _largest(scales.network(x) - network(x), network(x)) < 1e-5
    assert len(scales.layers) > 1


@every_network
def test_merging_changes_no_output_and_leaves_a_plain_network(name: str) -> None:
    network, scales, x = _made(name)
    _shake(scales.network)
    merged = scales.merged(network)
    with torch.no_grad():
        assert _largest(merged(x) - scales.network(x), merged(x)) < 1e-5
        assert _largest(merged(x) - network(x), merged(x)) > 1e-3
    for one, other in zip(merged.modules(), network.modules(), strict=True):
        assert type(one) is type(other)
        assert not one._load_state_dict_pre_hooks.keys() ^ other._load_state_dict_pre_hooks.keys()
    assert {name: weight.requires_grad for name, weight in merged.named_parameters()} == {
        name: weight.requires_grad for name, weight in network.named_parameters()
    }


@every_network
def test_the_root_mean_square_over_the_layers_of_a_unit_is_the_norm_of_its_channels(
    name: str,
) -> None:
    network, scales, _ = _made(name)
    expected = channel_norms(network, scales.channels)
    for unit, body in scales.channels.units.items():
        rows = torch.stack([scales.strengths(unit, layer) for layer in body.layers]).detach()
        members = torch.tensor(
            [float((scales.gammas(layer)[1] == body.start).sum()) for layer in body.layers]
        )
        found = (members @ rows.square() / members.sum()).sqrt()
        torch.testing.assert_close(found, expected[unit], rtol=1e-5, atol=1e-6)


@every_network
def test_channels_whose_entries_are_zero_can_go_without_a_change(name: str) -> None:
    network, scales, x = _made(name)
    if scales.channels.across:
        pytest.skip(
            "what is left of a normalisation over all channels depends on how many there are"
        )
    kept = random_kept(scales.channels, seed=3)
    scales.shrink(torch.from_numpy(scales.channels.stays(kept)).float())
    merged = scales.merged(network)
    smaller = remove_channels(merged, kept, x.shape, scales.channels)
    with torch.no_grad():
        assert _largest(smaller(x) - merged(x), merged(x)) < 1e-5
        assert _largest(merged(x) - network(x), network(x)) > 1e-3


def test_the_gradient_of_the_penalty_is_alpha_times_gamma_and_bias_of_the_pressed_channels_and_nothing_else() -> (
    None
):
    _, scales, _ = _made("unet")
    unit = "encoder.0.c11"
    alpha = torch.zeros(scales.channels.size + 1)
    alpha[scales.channels.units[unit].start + 1] = 0.3
    scales.penalty(alpha).backward()
    pressed = {f"{unit}.{GAMMA}", f"{unit}.bias"}
    for name, weight in scales.network.named_parameters():
        expected = torch.zeros_like(weight)
        if name in pressed:
            expected[1] = 0.3 * weight.detach()[1]
        found = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        torch.testing.assert_close(found, expected)


def test_a_transposed_convolution_has_a_gamma_for_each_output_channel() -> None:
    network, scales, _ = _made("unet")
    layer = next(
        name
        for name in scales.layers
        if isinstance(network.get_submodule(name), nn.ConvTranspose2d)
    )
    weight = network.get_submodule(layer).weight.detach()
    torch.testing.assert_close(
        scales.gammas(layer)[0].detach(), weight.square().sum((0, 2, 3)).sqrt()
    )


def test_a_channel_of_zeros_stays_one() -> None:
    network = unet()
    with torch.no_grad():
        network.encoder[0].c11.weight[2] = 0.0
    scales = Scales(network, layout_at(network, shape_of("unet")), torch.device("cpu"))
    scales.network(torch.rand(shape_of("unet"))).sum().backward()
    assert all(
        weight.grad.isfinite().all()
        for weight in scales.network.parameters()
        if weight.grad is not None
    )
    assert not scales.merged(network).encoder[0].c11.weight[2].any()

"""Scales: same outputs, a plain network after merging, and channels at zero can be removed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.surgery.importance import channel_norms
from bench.surgery.remove import remove_channels
from methods.assl.reparametrisation import GAMMA, Scales
from tests.networks.public import PUBLIC, build_with_seed, input_shape
from tests.networks.small import Residual, Shuffled, draw_kept, network_layout, unet


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
    "residual": lambda: build_with_seed(Residual),
    "shuffled": lambda: build_with_seed(Shuffled),
    "grouped": lambda: build_with_seed(Grouped),
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


def _reparametrise(name: str) -> tuple[nn.Module, Scales, Tensor]:
    network = NETWORKS[name]()
    shape = input_shape(name)
    probe = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    return network, Scales(network, network_layout(network, shape), torch.device("cpu")), probe


def _perturb(network: nn.Module) -> None:
    """New weights, as after a training."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * weight.abs().mean() * torch.randn(weight.shape, generator=generator)


def _relative_difference(difference: Tensor, like: Tensor) -> float:
    return float(difference.abs().max() / like.abs().max())


@every_network
def test_a_network_computes_the_same_with_its_scales_apart(name: str) -> None:
    network, scales, x = _reparametrise(name)
    with torch.no_grad():
        assert _relative_difference(scales.network(x) - network(x), network(x)) < 1e-5
    assert len(scales.layers) > 1


@every_network
def test_merging_changes_no_output_and_leaves_a_plain_network(name: str) -> None:
    network, scales, x = _reparametrise(name)
    _perturb(scales.network)
    merged = scales.merge(network)
    with torch.no_grad():
        assert _relative_difference(merged(x) - scales.network(x), merged(x)) < 1e-5
        assert _relative_difference(merged(x) - network(x), merged(x)) > 1e-3
    for layer, original in zip(merged.modules(), network.modules(), strict=True):
        assert type(layer) is type(original)
        assert layer._load_state_dict_pre_hooks.keys() == original._load_state_dict_pre_hooks.keys()
    trainable = {name: weight.requires_grad for name, weight in network.named_parameters()}
    assert trainable == {name: weight.requires_grad for name, weight in merged.named_parameters()}


@every_network
def test_the_root_mean_square_over_the_layers_of_a_unit_is_the_norm_of_its_channels(
    name: str,
) -> None:
    network, scales, _ = _reparametrise(name)
    expected = channel_norms(network, scales.layout)
    for unit in scales.layout.units.values():
        rows = torch.stack([scales.strengths(unit.name, layer) for layer in unit.layers]).detach()
        members = torch.tensor(
            [float((scales.gammas(layer)[1] == unit.start).sum()) for layer in unit.layers]
        )
        found = (members @ rows.square() / members.sum()).sqrt()
        torch.testing.assert_close(found, expected[unit.name], rtol=1e-5, atol=1e-6)


@every_network
def test_channels_whose_entries_are_zero_can_go_without_a_change(name: str) -> None:
    network, scales, x = _reparametrise(name)
    if scales.layout.cross_channel_ops:
        pytest.skip("a normalisation over all channels depends on their number")
    kept = draw_kept(scales.layout, seed=3)
    scales.shrink(torch.from_numpy(scales.layout.slot_mask(kept)).float())
    merged = scales.merge(network)
    smaller = remove_channels(merged, kept, x.shape, scales.layout)
    with torch.no_grad():
        assert _relative_difference(smaller(x) - merged(x), merged(x)) < 1e-5
        assert _relative_difference(merged(x) - network(x), network(x)) > 1e-3


def test_the_gradient_of_the_penalty_is_alpha_times_gamma_and_bias_of_penalised_channels() -> None:
    _, scales, _ = _reparametrise("unet")
    unit = "encoder.0.c11"
    alpha = torch.zeros(scales.layout.size + 1)
    alpha[scales.layout.units[unit].start + 1] = 0.3
    scales.penalty(alpha).backward()
    penalised = {f"{unit}.{GAMMA}", f"{unit}.bias"}
    for name, weight in scales.network.named_parameters():
        expected = torch.zeros_like(weight)
        if name in penalised:
            expected[1] = 0.3 * weight.detach()[1]
        found = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        torch.testing.assert_close(found, expected)


def test_a_transposed_convolution_has_a_gamma_for_each_output_channel() -> None:
    network, scales, _ = _reparametrise("unet")
    layers = {name: network.get_submodule(name) for name in scales.layers}
    transposed = next(n for n, layer in layers.items() if isinstance(layer, nn.ConvTranspose2d))
    norms = layers[transposed].weight.detach().square().sum((0, 2, 3)).sqrt()
    torch.testing.assert_close(scales.gammas(transposed)[0].detach(), norms)


def test_a_channel_of_zeros_stays_one() -> None:
    network = unet()
    with torch.no_grad():
        network.encoder[0].c11.weight[2] = 0.0
    scales = Scales(network, network_layout(network, input_shape("unet")), torch.device("cpu"))
    scales.network(torch.rand(input_shape("unet"))).sum().backward()
    gradients = [weight.grad for weight in scales.network.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)
    assert not scales.merge(network).encoder[0].c11.weight[2].any()

"""Surgery against masks: two ways to the same network."""

from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import ConfigError, PluginError
from bench.surgery.masks import mask_channels
from bench.surgery.remove import compose_removals, cut_copy, remove_channels
from tests.networks.small import SHAPE, Residual, draw_kept, network_layout, unet


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("compactors", [False, True])
def test_the_pruned_network_computes_what_the_masked_one_does(
    compactors: bool, dtype: torch.dtype, tolerance: float
) -> None:
    network = unet(compactors=compactors, dtype=dtype)
    x = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)).to(dtype)
    for seed in range(6):
        kept = draw_kept(network_layout(network), seed)
        with torch.no_grad(), mask_channels(network, network_layout(network), kept):
            expected = network(x)
        with torch.no_grad():
            found = remove_channels(network, kept, SHAPE)(x)
        assert (found - expected).abs().max() <= tolerance


def test_tied_layers_lose_the_same_channels() -> None:
    network = Residual().eval()
    x = torch.rand(SHAPE)
    kept = {"head": [1, 4, 5], "first.0": [0]}
    with torch.no_grad(), mask_channels(network, network_layout(network), kept):
        expected = network(x)
    torch.testing.assert_close(
        remove_channels(network, kept, SHAPE)(x), expected, atol=1e-6, rtol=0
    )


def test_widths_and_parameters_really_shrink_and_the_network_trains_on() -> None:
    network = unet(8)
    smaller = remove_channels(network, {"encoder.0.c12": [0, 1], "up.u1": [3]}, SHAPE)
    assert smaller.decoder["d1"].d11.in_channels == 3
    assert sum(p.numel() for p in smaller.parameters()) < sum(
        p.numel() for p in network.parameters()
    )
    smaller(torch.rand(SHAPE)).mean().backward()
    assert all(
        weight.grad is not None and weight.grad.shape == weight.shape
        for weight in smaller.parameters()
    )


class Rebuilds(nn.Module):
    """Replaces the weight of a layer whenever its mode changes, as merged branches do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.merged = nn.Conv2d(6, 6, 1)
        self.tail = nn.Conv2d(6, 3, 1)
        self.branch = nn.Parameter(torch.rand(6, 6, 1, 1))

    def train(self, mode: bool = True) -> "Rebuilds":
        self.merged.weight = nn.Parameter(self.branch.detach().clone())
        return super().train(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.merged(self.head(x)))


@pytest.mark.parametrize("network", [Rebuilds(), Rebuilds().eval()], ids=["new", "in eval mode"])
def test_a_network_that_rebuilds_its_weights_is_refused_by_its_reason(network: Rebuilds) -> None:
    with pytest.raises(ConfigError) as refused:
        remove_channels(network, {"merged": [0, 1, 2]}, SHAPE)
    assert "Rebuilds rebuilds its weights" in str(refused.value)
    assert "('merged.weight' changes)" in str(refused.value) and "\n" not in str(refused.value)


def test_the_network_that_is_passed_in_is_untouched() -> None:
    network = unet()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    remove_channels(network, draw_kept(network_layout(network), 0), SHAPE)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert all(layer.inplace for layer in network.modules() if isinstance(layer, nn.LeakyReLU))


@pytest.mark.parametrize(
    ("kept", "names"),
    [
        ({"c99": [0]}, "no prunable unit 'c99'"),
        ({"up.u1": []}, "at least one"),
        ({"up.u1": [9]}, "0 to 3"),
    ],
)
def test_a_cut_that_is_not_possible_is_named(kept: dict[str, list[int]], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        remove_channels(unet(), kept, SHAPE)


def test_two_cuts_compose_to_one() -> None:
    assert compose_removals({"a": [1, 3, 5]}, {"a": [0, 2]}, {"a": 6, "b": 2}) == {
        "a": [1, 5],
        "b": [0, 1],
    }


def test_a_surgery_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_wrongly(*arguments: Any, **options: Any) -> tuple[nn.Module, bool]:
        smaller, is_smaller = cut_copy(*arguments, **options)
        with torch.no_grad():
            next(smaller.parameters()).mul_(1.01)
        return smaller, is_smaller

    network = unet(8)
    (unit, *_) = network_layout(network, SHAPE).units
    monkeypatch.setattr("bench.surgery.remove.cut_copy", cut_wrongly)
    with pytest.raises(PluginError, match="surgery went wrong: the smaller network is off by"):
        remove_channels(network, {unit: [0, 1]}, SHAPE)

"""Sliced networks compute what surgery leaves, and only the slices learn."""

import pytest
import torch
from torch import nn

from bench.surgery import shared_weights
from bench.surgery.remove import remove_channels
from bench.surgery.shared_weights import SlicedNetwork
from tests.networks.small import SHAPE, Residual, draw_kept, network_layout, unet


@pytest.mark.parametrize(
    "network",
    [unet(4), unet(4, compactors=True), Residual()],
    ids=["unet", "compactors", "residual"],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_slices_compute_what_surgery_leaves(network: nn.Module, seed: int) -> None:
    layout = network_layout(network)
    photographs = torch.rand(2, 3, 32, 32)
    kept = draw_kept(layout, seed)
    smaller = remove_channels(network, kept, SHAPE, layout)
    torch.testing.assert_close(
        SlicedNetwork(network, layout)(kept, photographs),
        smaller(photographs),
        rtol=1e-5,
        atol=1e-6,
    )


def test_the_first_channels_are_views_of_the_weights_and_compute_what_surgery_leaves() -> None:
    network = unet(4)
    layout = network_layout(network)
    kept = {unit: range(full // 2) for unit, full in layout.widths.items()}
    sliced, photographs = SlicedNetwork(network, layout), torch.rand(2, 3, 32, 32)
    weight = sliced._slice_weights(layout.slot_mask(kept))["out.weight"]
    assert weight.shape[1] == network.out.weight.shape[1] // 2
    assert weight.data_ptr() == network.out.weight.data_ptr()
    smaller = remove_channels(network, kept, SHAPE, layout)
    torch.testing.assert_close(sliced(kept, photographs), smaller(photographs))


def test_weights_outside_the_slices_get_no_gradient() -> None:
    network = unet(4)
    layout = network_layout(network)
    kept = {unit: range(full // 2) for unit, full in layout.widths.items()}
    SlicedNetwork(network, layout)(kept, torch.rand(1, 3, 32, 32)).sum().backward()
    first = network.decoder["d1"].d11.weight.grad  # reads (up, skip), 4 channels each
    assert first[2:].abs().sum() == 0
    assert first[:2, [2, 3, 6, 7]].abs().sum() == 0
    assert (first[:2, [0, 1, 4, 5]].abs().sum((0, 2, 3)) > 0).all()


def test_widths_that_come_again_are_not_computed_again_and_see_the_new_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = unet(4)
    layout = network_layout(network)
    sliced = SlicedNetwork(network, layout)
    kept = {unit: range(full // 2) for unit, full in layout.widths.items()}
    photographs = torch.rand(1, 3, 32, 32)
    before = sliced(kept, photographs)
    monkeypatch.setattr(SlicedNetwork, "_find_cuts", None)
    with torch.no_grad():
        network.out.bias += 1
    torch.testing.assert_close(sliced(kept, photographs), before + 1)


def test_the_cache_of_widths_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_weights, "MAX_CACHED_WIDTHS", 2)
    network = unet(4)
    layout = network_layout(network)
    sliced = SlicedNetwork(network, layout)
    for width in (1, 2, 3):
        sliced({unit: range(width) for unit in layout.widths}, torch.rand(1, 3, 32, 32))
    assert len(sliced._cuts) == 1

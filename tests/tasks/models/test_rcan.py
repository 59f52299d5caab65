"""RCAN: its published numbers, its prunable units, and its initialisation."""

import pytest
import torch

from bench.channels.units import channel_layout
from bench.graph.lowering import trace
from tasks.models.initialisation import initialise
from tasks.models.rcan import RCAN


@pytest.mark.parametrize(
    ("scale", "parameters"), [(2, 15_444_643), (3, 15_629_283), (4, 15_592_355)]
)
def test_parameters_are_those_of_the_published_networks(scale: int, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(weight.numel() for weight in RCAN(scale=scale).parameters()) == parameters


def test_the_trunk_is_one_unit_and_each_block_has_two_of_its_own() -> None:
    layout = channel_layout(trace(RCAN(32, groups=2, blocks=2), (1, 3, 16, 16)))
    assert sorted(layout.widths.values()) == [2] * 4 + [32] * 6  # attention; trunk, branches, up
    trunk = list(layout.makes["head"])
    assert all(list(layout.makes[f"groups.{k}.end"]) == trunk for k in range(2))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_enlarges_by_its_scale(scale: int) -> None:
    network = RCAN(8, groups=1, blocks=1, scale=scale)
    assert network(torch.rand(1, 3, 7, 9)).shape == (1, 3, 7 * scale, 9 * scale)


def test_another_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="scale = 5; give one of 2, 3, 4"):
        RCAN(scale=5)


def test_initialisation_keeps_the_signal() -> None:
    network = RCAN(8, groups=2, blocks=2)
    initialise(network, torch.Generator().manual_seed(0))
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert 0.1 < network(x).std() < 10

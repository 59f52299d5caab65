"""Torch-Pruning's scores on our groups are those that it gives on its own, where its own are right."""

import pytest
import torch
import torch_pruning
from torch import nn

from bench.memory.layout import Layout
from bench.surgery.library_importance import SCORES, group_of, library_scores
from tests.networks.public import PUBLIC, shape_of
from tests.networks.small import SHAPE, Residual, layout_at, layout_of, unet

BATCHES = [(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)), torch.rand(2, 3, 32, 32)) for seed in range(2)]


def scores(network: nn.Module, channels: Layout, kind: str, seed: int = 0) -> dict[str, torch.Tensor]:
    return library_scores(network, channels, kind, BATCHES, nn.functional.l1_loss, seed)  # type: ignore[arg-type]


def own_groups(network: nn.Module, channels: Layout) -> dict[str, torch_pruning.dependency.Group]:
    """The library's own, from its own analysis."""
    for layer in network.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
    graph = torch_pruning.DependencyGraph().build_dependency(network, (torch.rand(SHAPE),))
    roots = {unit: network.get_submodule(each.layers[0]) for unit, each in channels.units.items()}
    return {
        unit: graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, list(range(channels.widths[unit])))
        for unit, root in roots.items()
    }


@pytest.mark.parametrize("kind", ["magnitude", "lamp", "fpgm"])
@pytest.mark.parametrize("network", [unet(4), Residual()], ids=["unet", "residual"])
def test_a_score_of_weights_is_the_librarys(network: nn.Module, kind: str) -> None:
    channels = layout_of(network)
    found, score = scores(network, channels, kind), SCORES[kind]()
    for unit, group in own_groups(network, channels).items():
        torch.testing.assert_close(found[unit], score(group))


@pytest.mark.parametrize("network", [unet(4), Residual()], ids=["unet", "residual"])
def test_the_taylor_score_is_the_librarys_after_a_backward_pass_of_its_user(network: nn.Module) -> None:
    channels = layout_of(network)
    found = scores(network, channels, "taylor")
    (sum(nn.functional.l1_loss(network(degraded), clean) for degraded, clean in BATCHES) / len(BATCHES)).backward()
    for unit, group in own_groups(network, channels).items():
        torch.testing.assert_close(found[unit], SCORES["taylor"]()(group), rtol=1e-4, atol=1e-6)


def test_the_hessian_score_is_made_of_squared_gradients_of_single_photographs() -> None:
    network = Residual()
    channels, squares = layout_of(network), {weight: torch.zeros_like(weight) for weight in network.parameters()}
    found = scores(network, channels, "hessian")
    for photograph, clean in ((one[None], other[None]) for pair in BATCHES for one, other in zip(*pair, strict=True)):
        network.zero_grad()
        nn.functional.l1_loss(network(photograph), clean).backward()
        for weight, total in squares.items():
            total += weight.grad.square() / 4
    for weight, total in squares.items():
        weight.grad = total
    for unit, group in own_groups(network, channels).items():
        torch.testing.assert_close(found[unit], SCORES["hessian"]()(group), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_network_gets_a_score_for_each_channel(name: str, kind: str) -> None:
    network = PUBLIC[name]()
    channels = layout_at(network, shape_of(name))
    if kind in ("taylor", "hessian"):
        for weight in network.parameters():
            weight.grad = torch.rand_like(weight)
        found = {unit: SCORES[kind]()(group_of(network, channels, unit)) for unit in channels.units}
    else:
        found = scores(network, channels, kind)
    assert {unit: len(score) for unit, score in found.items()} == channels.widths
    assert all(score.isfinite().all() for score in found.values())


def test_the_random_score_is_seeded_and_leaves_other_draws_alone() -> None:
    network = unet(4)
    channels, before = layout_of(network), torch.get_rng_state()
    first, again, other = (scores(network, channels, "random", seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[unit], again[unit]) for unit in first)
    assert any(not torch.equal(first[unit], other[unit]) for unit in first)
    assert torch.equal(torch.get_rng_state(), before)

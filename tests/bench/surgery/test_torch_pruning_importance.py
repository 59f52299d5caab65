"""Scores on groups of our layout against those that torch-pruning gives on groups of its own graph, where that graph is right."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch_pruning
from torch import nn
from torch_pruning.pruner import importance as library

from bench.surgery.importance import Scores, channel_norms
from bench.surgery.torch_pruning_importance import CLASSES, FROM_GRADIENTS, Library, library_scores
from tests.networks.public import PUBLIC, seeded, shape_of
from tests.networks.small import SHAPE, Grouped, Residual, Shuffled, layout_at, layout_of, unet

FOLLOWED: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "compactors": lambda: unet(compactors=True),
    "residual": Residual,
}
FOLLOWED |= {name: PUBLIC[name] for name in ("dncnn", "ridnet")}
PAIR = (
    torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)),
    torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)),
)
loss = nn.functional.l1_loss


def _plain(network: nn.Module) -> nn.Module:
    """Activations out of place: the library misreads those that overwrite their operand."""
    for layer in network.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
    return network


def _of_the_library(network: nn.Module, scorer: library.Importance, parts: int = 1) -> Scores:
    """Unit -> (C,): on the library's own groups; the mean over the parts of grouped layers, as its pruner takes it."""
    graph, found = torch_pruning.DependencyGraph().build_dependency(network, torch.rand(SHAPE)), {}
    for name, unit in layout_of(network).units.items():
        root, every = network.get_submodule(unit.layers[0]), list(range(parts * unit.channels))
        found[name] = (
            scorer(graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, every))
            .view(parts, -1)
            .mean(0)
        )
    return found


@pytest.mark.parametrize("importance", [name for name in CLASSES if name != "random"])
@pytest.mark.parametrize("name", FOLLOWED)
def test_scores_are_those_of_the_library(name: str, importance: Library) -> None:
    network, scorer = _plain(seeded(FOLLOWED[name])), CLASSES[importance]()
    ours = library_scores(network, layout_of(network), importance, 0, [PAIR], loss)
    if importance in FROM_GRADIENTS:
        loss(network(PAIR[0]), PAIR[1]).backward()
    if importance == "hessian":
        scorer.accumulate_grad(network)
    theirs = _of_the_library(network, scorer)
    assert ours.keys() == theirs.keys()
    for unit, score in theirs.items():
        assert len(score) < 3 or len(score.unique()) > 1
        torch.testing.assert_close(ours[unit], score, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "hessian"])
def test_of_grouped_layers_the_mean_over_groups_is_that_of_the_library(importance: Library) -> None:
    network, scorer = _plain(seeded(Grouped)), CLASSES[importance]()
    ours = library_scores(network, layout_of(network), importance, 0, [PAIR], loss)
    loss(network(PAIR[0]), PAIR[1]).backward()
    if importance == "hessian":
        scorer.accumulate_grad(network)
    for unit, score in _of_the_library(network, scorer, parts=2).items():
        torch.testing.assert_close(ours[unit], score, rtol=1e-4, atol=1e-5)


def test_where_fpgm_of_the_library_fails_at_grouped_layers_ours_leaves_them_out_as_readers() -> (
    None
):
    network = _plain(seeded(Grouped))
    with pytest.raises(RuntimeError):
        _of_the_library(network, library.FPGMImportance(), parts=2)
    rows = network.head.weight.detach().flatten(1).square()
    distances = torch.stack([(rows - row).norm(dim=1).sum() for row in rows]).view(2, 4).sum(0)
    torch.testing.assert_close(
        library_scores(network, layout_of(network), "fpgm")["head"],
        distances / distances.mean(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_magnitude_behind_pixel_shuffle_is_the_sum_over_the_channels_of_a_place() -> None:
    network = seeded(Shuffled)
    made, read = (
        network.up[0].weight.detach().square().sum((1, 2, 3)),
        network.tail.weight.detach().square().sum((0, 2, 3)),
    )
    mean = (made.view(6, 4).sum(1) + read) / 2
    torch.testing.assert_close(
        library_scores(network, layout_of(network), "magnitude")["up.0"], mean / mean.mean()
    )


def test_taylor_and_hessian_are_their_formulas() -> None:
    network = seeded(Shuffled)
    degraded, clean = (torch.cat([each, each.flip(2).square()]) for each in PAIR)
    made, read = network.up[0].weight, network.tail.weight
    slopes = [
        torch.autograd.grad(loss(network(x[None]), y[None]), [made, read])
        for x, y in zip(degraded, clean, strict=True)
    ]
    (of_made, of_read), (more_made, more_read) = slopes
    expected = {
        "taylor": ((made * (of_made + more_made)).abs(), (read * (of_read + more_read)).abs()),
        "hessian": (made**2 * (of_made**2 + more_made**2), read**2 * (of_read**2 + more_read**2)),
    }
    for name, (one, other) in expected.items():
        mean = one.sum((1, 2, 3)).view(6, 4).sum(1) + other.sum((0, 2, 3))
        found = library_scores(network, layout_of(network), name, 0, [(degraded, clean)], loss)[
            "up.0"
        ]
        torch.testing.assert_close(found, (mean / mean.mean()).detach(), rtol=1e-4, atol=1e-5)


def test_all_photographs_count_although_the_library_keeps_only_the_last() -> None:
    network, scorer = _plain(unet()), library.GroupHessianImportance()
    other = (PAIR[1], PAIR[0])
    for degraded, clean in (PAIR, other):
        network.zero_grad()
        loss(network(degraded), clean).backward()
        scorer.accumulate_grad(network)
    theirs = _of_the_library(network, scorer)
    last, both = (
        library_scores(network, layout_of(network), "hessian", 0, batches, loss)
        for batches in ([other], [PAIR, other])
    )
    together = [(torch.cat([PAIR[0], other[0]]), torch.cat([PAIR[1], other[1]]))]
    for unit, score in theirs.items():
        torch.testing.assert_close(last[unit], score, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            both[unit],
            library_scores(network, layout_of(network), "hessian", 0, together, loss)[unit],
        )
    assert not all(torch.allclose(both[unit], last[unit], rtol=1e-2) for unit in both)


@pytest.mark.parametrize("importance", CLASSES)
@pytest.mark.parametrize("name", ["edsr x2", "srresnet x2", "nafnet"])
def test_every_channel_gets_a_finite_score_and_the_network_is_untouched(
    name: str, importance: Library
) -> None:
    network, channels = PUBLIC[name](), layout_at(PUBLIC[name](), shape_of(name))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pairs = [(torch.rand(2, 3, 16, 16), torch.rand(2, 1, 1, 1))]
    scores = library_scores(
        network,
        channels,
        importance,
        0,
        pairs,
        lambda restored, clean: (restored - clean).abs().mean(),
    )
    assert {unit: len(score) for unit, score in scores.items()} == channels.widths
    assert all(score.isfinite().all() for score in scores.values())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_random_scores_come_from_the_seed_alone() -> None:
    network = unet()
    one, same, other = (
        library_scores(network, layout_of(network), "random", seed) for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[unit], same[unit]) for unit in one)
    assert not any(torch.equal(one[unit], other[unit]) for unit in one)
    drawn = torch.get_rng_state()
    library_scores(network, layout_of(network), "random", 3)
    assert torch.equal(drawn, torch.get_rng_state())


def test_the_classes_are_those_of_the_option_and_differ_from_each_other() -> None:
    assert tuple(CLASSES) == get_args(Library)
    network = unet(8)
    orders = {
        name: tuple(
            library_scores(network, layout_of(network), name, 0, [PAIR], loss)["encoder.2.c31"]
            .argsort()
            .tolist()
        )
        for name in CLASSES
    }
    assert orders["magnitude"] == orders["lamp"]
    assert len(set(orders.values())) == len(CLASSES) - 1
    assert orders["magnitude"] != tuple(
        channel_norms(network, layout_of(network))["encoder.2.c31"].argsort().tolist()
    )

"""Scores on groups of our layout against those that torch-pruning gives on its own groups.

Compared on networks where the library's own graph is right.
"""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch_pruning
from torch import nn
from torch_pruning.pruner import importance as library

from bench.surgery.importance import ChannelScores, channel_norms
from bench.surgery.torch_pruning_importance import (
    GRADIENT_CRITERIA,
    IMPORTANCE_CLASSES,
    LibraryCriterion,
    library_scores,
)
from tests.networks.public import PUBLIC, build_with_seed, input_shape
from tests.networks.small import SHAPE, Grouped, Residual, Shuffled, network_layout, unet

SUPPORTED: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "compactors": lambda: unet(compactors=True),
    "residual": Residual,
}
SUPPORTED |= {name: PUBLIC[name] for name in ("dncnn", "ridnet")}
PAIR = (
    torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)),
    torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)),
)
loss = nn.functional.l1_loss


def _without_inplace(network: nn.Module) -> nn.Module:
    """Make activations work out of place: the library misreads those that overwrite an operand."""
    for layer in network.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
    return network


def _library_group_scores(
    network: nn.Module, scorer: library.Importance, parts: int = 1
) -> ChannelScores:
    """Scores on the library's own groups, unit -> (C,).

    The mean over the parts of grouped layers, as its pruner takes it.
    """
    graph = torch_pruning.DependencyGraph().build_dependency(network, torch.rand(SHAPE))
    prune = torch_pruning.prune_conv_out_channels
    scores = {}
    for name, unit in network_layout(network).units.items():
        root = network.get_submodule(unit.layers[0])
        group = graph.get_pruning_group(root, prune, list(range(parts * unit.channels)))
        scores[name] = scorer(group).view(parts, -1).mean(0)
    return scores


@pytest.mark.parametrize("importance", [name for name in IMPORTANCE_CLASSES if name != "random"])
@pytest.mark.parametrize("name", SUPPORTED)
def test_scores_are_those_of_the_library(name: str, importance: LibraryCriterion) -> None:
    network = _without_inplace(build_with_seed(SUPPORTED[name]))
    scorer = IMPORTANCE_CLASSES[importance]()
    ours = library_scores(network, network_layout(network), importance, 0, [PAIR], loss)
    if importance in GRADIENT_CRITERIA:
        loss(network(PAIR[0]), PAIR[1]).backward()
    if importance == "hessian":
        scorer.accumulate_grad(network)
    theirs = _library_group_scores(network, scorer)
    assert ours.keys() == theirs.keys()
    for unit, score in theirs.items():
        assert len(score) < 3 or len(score.unique()) > 1
        torch.testing.assert_close(ours[unit], score, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "hessian"])
def test_of_grouped_layers_the_mean_over_groups_is_that_of_the_library(
    importance: LibraryCriterion,
) -> None:
    network = _without_inplace(build_with_seed(Grouped))
    scorer = IMPORTANCE_CLASSES[importance]()
    ours = library_scores(network, network_layout(network), importance, 0, [PAIR], loss)
    loss(network(PAIR[0]), PAIR[1]).backward()
    if importance == "hessian":
        scorer.accumulate_grad(network)
    for unit, score in _library_group_scores(network, scorer, parts=2).items():
        torch.testing.assert_close(ours[unit], score, rtol=1e-4, atol=1e-5)


def test_where_the_librarys_fpgm_fails_at_grouped_layers_ours_leaves_them_out_as_readers() -> None:
    network = _without_inplace(build_with_seed(Grouped))
    with pytest.raises(RuntimeError):
        _library_group_scores(network, library.FPGMImportance(), parts=2)
    rows = network.head.weight.detach().flatten(1).square()
    distances = torch.stack([(rows - row).norm(dim=1).sum() for row in rows]).view(2, 4).sum(0)
    torch.testing.assert_close(
        library_scores(network, network_layout(network), "fpgm")["head"],
        distances / distances.mean(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_magnitude_behind_pixel_shuffle_is_the_sum_over_the_channels_of_a_slot() -> None:
    network = build_with_seed(Shuffled)
    made = network.up[0].weight.detach().square().sum((1, 2, 3))
    read = network.tail.weight.detach().square().sum((0, 2, 3))
    mean = (made.view(6, 4).sum(1) + read) / 2
    torch.testing.assert_close(
        library_scores(network, network_layout(network), "magnitude")["up.0"], mean / mean.mean()
    )


def test_taylor_and_hessian_are_their_formulas() -> None:
    network = build_with_seed(Shuffled)
    degraded, clean = (torch.cat([photo, photo.flip(2).square()]) for photo in PAIR)
    made = network.up[0].weight
    read = network.tail.weight
    slopes = [
        torch.autograd.grad(loss(network(x[None]), y[None]), [made, read])
        for x, y in zip(degraded, clean, strict=True)
    ]
    (made_1, read_1), (made_2, read_2) = slopes
    expected = {
        "taylor": ((made * (made_1 + made_2)).abs(), (read * (read_1 + read_2)).abs()),
        "hessian": (made**2 * (made_1**2 + made_2**2), read**2 * (read_1**2 + read_2**2)),
    }
    layout = network_layout(network)
    for name, (of_made, of_read) in expected.items():
        mean = of_made.sum((1, 2, 3)).view(6, 4).sum(1) + of_read.sum((0, 2, 3))
        scores = library_scores(network, layout, name, 0, [(degraded, clean)], loss)["up.0"]
        torch.testing.assert_close(scores, (mean / mean.mean()).detach(), rtol=1e-4, atol=1e-5)


def test_all_photographs_count_although_the_library_keeps_only_the_last() -> None:
    network = _without_inplace(unet())
    scorer = library.GroupHessianImportance()
    other = (PAIR[1], PAIR[0])
    for degraded, clean in (PAIR, other):
        network.zero_grad()
        loss(network(degraded), clean).backward()
        scorer.accumulate_grad(network)
    theirs = _library_group_scores(network, scorer)
    last, both = (
        library_scores(network, network_layout(network), "hessian", 0, batches, loss)
        for batches in ([other], [PAIR, other])
    )
    together = [(torch.cat([PAIR[0], other[0]]), torch.cat([PAIR[1], other[1]]))]
    for unit, score in theirs.items():
        torch.testing.assert_close(last[unit], score, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            both[unit],
            library_scores(network, network_layout(network), "hessian", 0, together, loss)[unit],
        )
    assert not all(torch.allclose(both[unit], last[unit], rtol=1e-2) for unit in both)


@pytest.mark.parametrize("importance", IMPORTANCE_CLASSES)
@pytest.mark.parametrize("name", ["edsr x2", "srresnet x2", "nafnet"])
def test_every_channel_gets_a_finite_score_and_the_network_is_untouched(
    name: str, importance: LibraryCriterion
) -> None:
    network = PUBLIC[name]()
    layout = network_layout(PUBLIC[name](), input_shape(name))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pairs = [(torch.rand(2, 3, 16, 16), torch.rand(2, 1, 1, 1))]
    scores = library_scores(
        network,
        layout,
        importance,
        0,
        pairs,
        lambda restored, clean: (restored - clean).abs().mean(),
    )
    assert {unit: len(score) for unit, score in scores.items()} == layout.widths
    assert all(score.isfinite().all() for score in scores.values())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_random_scores_come_from_the_seed_alone() -> None:
    network = unet()
    first, same, other = (
        library_scores(network, network_layout(network), "random", seed) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[unit], same[unit]) for unit in first)
    assert not any(torch.equal(first[unit], other[unit]) for unit in first)
    before = torch.get_rng_state()
    library_scores(network, network_layout(network), "random", 3)
    assert torch.equal(before, torch.get_rng_state())


def test_the_classes_are_those_of_the_option_and_differ_from_each_other() -> None:
    assert tuple(IMPORTANCE_CLASSES) == get_args(LibraryCriterion)
    network = unet(8)
    layout = network_layout(network)
    orders = {}
    for name in IMPORTANCE_CLASSES:
        scores = library_scores(network, layout, name, 0, [PAIR], loss)["encoder.2.c31"]
        orders[name] = tuple(scores.argsort().tolist())
    assert orders["magnitude"] == orders["lamp"]
    assert len(set(orders.values())) == len(IMPORTANCE_CLASSES) - 1
    assert orders["magnitude"] != tuple(
        channel_norms(network, network_layout(network))["encoder.2.c31"].argsort().tolist()
    )

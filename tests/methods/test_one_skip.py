"""One skip narrowed alone: only its channels are removed, and the output is that of a mask."""

from dataclasses import replace

import pytest
import torch

from bench.contract import Budget
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import score_channels
from bench.surgery.compactors import insert_compactors
from bench.surgery.importance import select_most_important
from bench.surgery.masks import mask_channels
from methods.one_skip import OneSkip
from tests.methods.test_every_method import network, trainer
from tests.networks.small import SHAPE, unet


def make_budget(ratio: float = 1.0) -> Budget:
    return Budget(int(ratio * peak_memory(network("small_unet"), SHAPE)), SHAPE)


def test_nothing_but_the_compactor_loses_channels() -> None:
    pruned = OneSkip(skip=1, keep=0.5).prune(network("small_unet"), make_budget(), trainer())
    (unit,) = pruned.kept
    assert unit.startswith("compactors.") and len(pruned.kept[unit]) == 2


def test_with_all_channels_the_network_computes_the_same() -> None:
    pruned = OneSkip(skip=2, keep=1.0).prune(network("small_unet"), make_budget(), trainer())
    x = torch.rand(SHAPE)
    torch.testing.assert_close(pruned.model.eval()(x), network("small_unet")(x))


def test_it_computes_what_the_masked_skip_computes() -> None:
    budget = make_budget()
    x = torch.rand(SHAPE)
    pruned = OneSkip(skip=1, keep=0.25).prune(network("small_unet"), budget, trainer())
    compacted = insert_compactors(network("small_unet"), pruned.inserted, SHAPE)
    layout = analyse_network(compacted, budget).layout
    with mask_channels(compacted, layout, pruned.kept):
        torch.testing.assert_close(pruned.model.eval()(x), compacted.eval()(x))


def test_the_channels_that_stay_are_the_most_important_by_the_criterion() -> None:
    budget = make_budget()
    for importance in ("gradient", "random"):
        method = OneSkip(skip=1, keep=0.5, importance=importance)
        pruned = method.prune(network("small_unet"), budget, trainer())
        compacted = insert_compactors(network("small_unet"), pruned.inserted, SHAPE)
        layout = analyse_network(compacted, budget).layout
        scores = score_channels(importance, compacted, layout, trainer())
        ((unit, kept),) = pruned.kept.items()
        assert kept == select_most_important(scores[unit], 2)


def test_a_smaller_budget_narrows_the_rest() -> None:
    budget = make_budget(0.5)
    pruned = OneSkip(skip=1, keep=0.5).prune(network("small_unet"), budget, trainer())
    assert len(pruned.kept) > 1
    assert peak_memory(pruned.model, SHAPE) <= budget.peak_bytes


@pytest.mark.parametrize("options", [{"skip": 0}, {"keep": 0.0}, {"keep": 1.5}])
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="skip counts from 1, and keep is a share"):
        OneSkip(**options)


def test_a_skip_that_is_no_multiple_of_the_channels_asked_for_is_named() -> None:
    budget = replace(make_budget(), channel_multiple=16)
    with pytest.raises(Infeasible, match=r"multiple of 16"):
        OneSkip(skip=1).prune(unet(24), budget, trainer())

"""One skip narrowed alone: only its channels go, and what they carried is what goes missing."""

import pytest
import torch

from bench.contract import Budget
from bench.errors import ConfigError
from bench.memory.profile import peak_memory
from bench.surgery.analysis import analyze_network
from bench.surgery.compactors import insert
from bench.surgery.remove import pretended
from methods.one_skip import OneSkip
from tests.methods.test_every_method import network, trainer
from tests.networks.small import SHAPE


def whole(ratio: float = 1.0) -> Budget:
    return Budget(int(ratio * peak_memory(network("small_unet"), SHAPE)), SHAPE)


def test_nothing_but_the_compactor_loses_channels() -> None:
    pruned = OneSkip(skip=1, keep=0.5).prune(network("small_unet"), whole(), trainer())
    (unit,) = pruned.kept
    assert unit.startswith("compactors.") and len(pruned.kept[unit]) == 2


def test_with_all_channels_the_network_computes_the_same() -> None:
    pruned, x = (
        OneSkip(skip=2, keep=1.0).prune(network("small_unet"), whole(), trainer()),
        torch.rand(SHAPE),
    )
    torch.testing.assert_close(pruned.model.eval()(x), network("small_unet")(x))


def test_it_computes_what_the_masked_skip_computes() -> None:
    budget, x = whole(), torch.rand(SHAPE)
    pruned = OneSkip(skip=1, keep=0.25).prune(network("small_unet"), budget, trainer())
    compacted = insert(network("small_unet"), pruned.inserted, SHAPE)
    with pretended(
        compacted, analyze_network(compacted, budget).layout, pruned.kept, SHAPE
    ) as masked:
        torch.testing.assert_close(pruned.model.eval()(x), masked.eval()(x))


def test_a_smaller_budget_narrows_the_rest() -> None:
    pruned = OneSkip(skip=1, keep=0.5).prune(network("small_unet"), whole(0.5), trainer())
    assert len(pruned.kept) > 1 and peak_memory(pruned.model, SHAPE) <= whole(0.5).peak_bytes


@pytest.mark.parametrize("options", [{"skip": 0}, {"keep": 0.0}, {"keep": 1.5}])
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="skip counts from 1, and keep is a share"):
        OneSkip(**options)

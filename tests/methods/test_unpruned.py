"""The reference method."""

import pytest

from bench.contract import Budget
from bench.errors import Infeasible
from bench.memory.profile import peak_memory
from methods.unpruned import Unpruned
from tests.networks.small import SHAPE, unet


def test_it_gives_back_the_network_where_its_peak_fits() -> None:
    network = unet()
    pruned = Unpruned().prune(network, Budget(peak_memory(network, SHAPE), SHAPE))
    assert pruned.model is network
    assert (pruned.finish, pruned.kept) == ("none", {})


def test_below_its_own_peak_nothing_fits() -> None:
    network = unet()
    with pytest.raises(Infeasible, match="the least is"):
        Unpruned().prune(network, Budget(peak_memory(network, SHAPE) - 1, SHAPE))


def test_with_fine_tuning_it_is_finished_like_a_pruned_network() -> None:
    network = unet()
    budget = Budget(peak_memory(network, SHAPE), SHAPE)
    assert Unpruned(finetune=True).prune(network, budget).finish == "finetune"

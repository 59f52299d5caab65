"""A method that has analysed a network does not have its units found again for the surgery."""

from typing import Any

import pytest

from bench.contract import Budget
from bench.memory.profile import peak_memory
from bench.plugins.registry import METHODS
from bench.surgery import remove
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, FakeTask
from tests.networks.small import SHAPE, unet


@pytest.mark.parametrize("name", ["uniform", "global_l2", "one_skip"])
def test_the_units_are_found_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(graph: Any) -> None:
        raise AssertionError("the units were found again")

    monkeypatch.setattr(remove, "channel_layout", refuse)
    network = unet(4)
    budget = Budget(int(0.6 * peak_memory(network, SHAPE)), SHAPE)
    trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed=0)
    assert METHODS.get(name)().prune(network, budget, trainer).kept

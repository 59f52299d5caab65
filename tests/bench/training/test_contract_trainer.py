"""The trainer as a method gets it."""

import pytest

from bench.errors import PluginError
from bench.training.contract_trainer import ContractTrainer
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, FakeTask


def test_a_method_sees_of_its_trainer_what_the_contract_names_and_can_set_nothing() -> None:
    given = ContractTrainer(TaskTrainer(FakeTask(), "embedded", RECIPE, seed=3))
    assert given.recipe == RECIPE and len(given.calibration)
    assert not hasattr(given, "meter") and not hasattr(given.fit, "__self__")
    with pytest.raises(PluginError, match=r"trainer\.meter, which the contract does not name"):
        _ = given.meter
    with pytest.raises(PluginError, match=r"cannot set trainer\.recipe"):
        given.recipe = None

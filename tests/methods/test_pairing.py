"""Two methods see the same training batch at the same place of the learning-rate curve."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.contract import Budget
from bench.memory.profile import peak_memory
from bench.plugins.registry import METHODS
from bench.runner.finish import finish
from bench.training.trainer import TaskTrainer
from tasks.models.unet import UNet
from tests.fakes import RECIPE, AnyScale

SHAPE = (1, 3, 32, 32)
MATCHED = replace(RECIPE, pretrain_steps=8, matched_steps=30)
OPTIONS: dict[str, dict[str, Any]] = {
    "uniform": {"start": "slice"},
    "mosp": {},
    "assl": {"epochs": 2},
    "group_lasso": {"epochs": 2},
    "s_net": {"start": "pretrained"},
    "us_net": {"start": "pretrained", "finetune": True},
    "autoslim": {"groups": 2, "crops": 2, "epochs": 2, "finish": "finetune"},
    "dhp": {"start": "pretrained"},
}


class Noting(TaskTrainer):
    """Notes what it trains on, by pretraining and tuning."""

    batches_by_curve: dict[str, list[float]]

    def draw_batch(self, generator: Generator) -> tuple[Tensor, Tensor]:
        pair = super().draw_batch(generator)
        curve = "pretrain" if self.meter.phase == "pretrain" else "tuning"
        self.batches_by_curve[curve].append(float(pair[0].sum()))
        return pair


@cache
def batches_of(name: str, start: str = "", seed: int = 3) -> dict[str, list[float]]:
    """Return the batches that a method and its finish train on."""
    drawn: dict[str, list[float]] = {"pretrain": [], "tuning": []}
    torch.manual_seed(1)
    model = UNet(width=8, levels=3)
    method = METHODS.get(name)(**(OPTIONS[name] | ({"start": start} if start else {})))
    budget = Budget(int(0.85 * peak_memory(model, SHAPE)), SHAPE)
    trainer = Noting(AnyScale(), "embedded", MATCHED, seed)
    trainer.batches_by_curve = drawn
    sweep = iter(method.sweep(model, [budget], trainer))
    _, pruned = next(sweep)
    tuned = trainer.meter.cost().tuning_steps  # while the sweep waits: its branch has not ended
    finisher = Noting(AnyScale(), "embedded", MATCHED, seed, stream="finish", tuned=tuned)
    finisher.batches_by_curve = drawn
    finish(finisher, pruned)
    return drawn


@pytest.mark.parametrize("name", OPTIONS)
def test_every_method_is_tuned_on_the_same_batches_in_the_same_order(name: str) -> None:
    drawn = batches_of(name)
    assert drawn == {"pretrain": [], "tuning": batches_of("uniform")["tuning"]}
    assert len(set(drawn["tuning"])) == MATCHED.matched_steps


@pytest.mark.parametrize("name", ["s_net", "dhp"])
def test_training_from_new_weights_sees_the_batches_of_pretraining(name: str) -> None:
    drawn = batches_of(name, start="scratch")
    assert drawn == batches_of("uniform", start="scratch")
    assert len(drawn["pretrain"]) == MATCHED.pretrain_steps


def test_another_seed_changes_all_batches() -> None:
    first, second = (batches_of("mosp", seed=seed)["tuning"] for seed in (3, 4))
    assert not set(first) & set(second)

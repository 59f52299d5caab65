"""The learning-rate curves, and that all phases after pretraining lie on one of them."""

from dataclasses import replace

import pytest
from torch import nn

from bench.contract import Recipe
from bench.training.learning_rates import learning_rates
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, FakeTask, Tiny

MATCHED = replace(RECIPE, matched_steps=8, tuning_rate=8.0)
OWN = replace(RECIPE, matched_steps=0, tuning_rate=8.0)


def test_a_pretraining_rate_is_halved_at_equal_distances():
    recipe = Recipe(pretrain_rate=8.0, pretrain_halvings=3, pretrain_warmup=0)
    assert learning_rates(recipe, "pretrain", 0, 8) == [8, 8, 4, 4, 2, 2, 1, 1]


def test_by_default_the_tuning_rate_is_halved_once_at_half():
    assert learning_rates(MATCHED, "finetune", 0, 8) == [8] * 4 + [4] * 4


def test_cosine_falls_from_the_rate_towards_zero():
    rates = learning_rates(replace(MATCHED, tuning_curve="cosine"), "finetune", 0, 8)
    assert rates[0] == 8 and rates[4] == pytest.approx(4) and rates[-1] < 0.5
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("warmup", "rising"), [(2, 2), (100, 25)])
def test_a_warm_up_rises_for_at_most_a_quarter_of_the_curve(warmup: int, rising: int):
    recipe = Recipe(tuning_rate=1.0, matched_steps=100, tuning_warmup=warmup, tuning_halvings=0)
    rates = learning_rates(recipe, "search", 0, 100)
    assert rates[:rising] == pytest.approx([(index + 1) / rising for index in range(rising)])
    assert set(rates[rising:]) == {1.0}


@pytest.mark.parametrize("phase", ["search", "adapt", "finetune"])
def test_every_phase_after_pretraining_is_a_place_on_the_same_curve(phase):
    whole = learning_rates(MATCHED, "finetune", 0, 8)
    assert learning_rates(MATCHED, phase, 3, 4) == whole[3:7]


def test_steps_beyond_the_curve_stay_at_its_last_rate():
    assert learning_rates(MATCHED, "finetune", 7, 3) == [4, 4, 4]


def test_without_matched_steps_a_phase_has_its_own_curve_and_a_search_stays_at_the_first_rate():
    assert learning_rates(OWN, "adapt", 5, 4) == [8, 8, 4, 4]
    assert learning_rates(OWN, "search", 5, 4) == [8, 8, 8, 8]


def train(trainer: TaskTrainer, model: nn.Module, *phases) -> float:
    for phase, steps in phases:
        trainer.fit(model, steps, phase=phase)
    return trainer.meter.cost().tuning_rate_sum


def test_the_sum_of_rates_does_not_depend_on_how_the_steps_are_divided():
    def trainer(tuned: int = 0) -> TaskTrainer:
        return TaskTrainer(FakeTask(), "embedded", MATCHED, seed=0, tuned=tuned)

    once = train(trainer(), Tiny(4), ("finetune", 8))
    parts = train(trainer(), Tiny(4), ("adapt", 1), ("search", 2), ("search", 2), ("pretrain", 4))
    assert once == 48 and parts + train(trainer(tuned=5), Tiny(4), ("finetune", 3)) == once


def test_a_branch_leaves_the_place_on_the_curve_as_it_was():
    trainer = TaskTrainer(FakeTask(), "embedded", MATCHED, seed=0)
    with trainer.branch():
        trainer.fit(Tiny(4), 6, phase="search")
    assert trainer.learning_rates("search", 1) == [8]

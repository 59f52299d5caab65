"""What a method trains by itself is seen, whatever it trains on, and honest work is not."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.graph import _engine_run_backward

from bench.surgery.importance import gate_gradients
from bench.training.checkpoints import Checkpoints
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, FakeTask, Tiny

Work = Callable[[TaskTrainer, nn.Module], Any]


def make_trainer(**options: Any) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", RECIPE, 3, **options)


def own_adam(trainer: TaskTrainer, model: nn.Module) -> None:
    adam = torch.optim.Adam(model.parameters())
    for degraded, clean in trainer.batches(3):
        trainer.criterion(model(degraded), clean).backward()
        adam.step()


def descent_by_hand(trainer: TaskTrainer, model: nn.Module) -> None:
    weights = list(model.parameters())
    for _ in range(RECIPE.calibration_crops + 3):
        for weight, slope in zip(
            weights, torch.autograd.grad(model(torch.rand(1, 3, 8, 8)).sum(), weights), strict=True
        ):
            weight.data -= 0.1 * slope


def hidden_in_a_branch(trainer: TaskTrainer, model: nn.Module) -> None:
    with trainer.branch():
        trainer.fit(model, 2, phase="search")


def in_a_callback(trainer: TaskTrainer, model: nn.Module) -> None:
    trainer.fit(model, 1, phase="search", after_step=lambda *_: own_adam(trainer, model))


def pretraining_again(trainer: TaskTrainer, model: nn.Module) -> None:
    trainer.observer.unpruned = deepcopy(model)
    trainer.fit(model, 2, phase="pretrain")


def pretraining(trainer: TaskTrainer, model: nn.Module) -> None:
    trainer.observer.unpruned = deepcopy(model)
    trainer.reinitialise(model)
    trainer.fit(model, 2, phase="pretrain")


def by_the_engine(trainer: TaskTrainer, model: nn.Module) -> None:
    for _ in range(RECIPE.calibration_crops + 3):
        loss = model(torch.rand(1, 3, 8, 8)).sum()
        _engine_run_backward((loss,), (torch.ones(()),), False, False, (), accumulate_grad=True)


def cleared_meter(trainer: TaskTrainer, model: nn.Module) -> None:
    trainer.fit(model, 2, phase="search")
    trainer.meter.steps.clear()


def booked(trainer: TaskTrainer, model: nn.Module) -> None:
    trainer.fit(model, 2, phase="search")
    trainer.loss(model)
    list(trainer.batches(2))


def taylor_scores(trainer: TaskTrainer, model: nn.Module) -> None:
    for _ in range(RECIPE.calibration_crops):
        trainer.criterion(model(torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 8, 8)).backward()


def excess_of(work: Work, trainer: TaskTrainer) -> dict[str, int]:
    with trainer.observer.watch():
        work(trainer, Tiny(4))
        return trainer.observer.hand_over(trainer.meter.cost(), RECIPE.calibration_crops)


@pytest.mark.parametrize(
    ("work", "excess"),
    [
        (own_adam, {"optimizer steps": 3}),
        (descent_by_hand, {"backward passes": 3}),
        (hidden_in_a_branch, {"optimizer steps": 2, "samples": 4}),
        (in_a_callback, {"optimizer steps": 3, "samples": 6}),
        (pretraining_again, {"steps of pretraining from pretrained weights": 2}),
        (pretraining, {}),
        (by_the_engine, {"backward passes": 3}),
        (cleared_meter, {"optimizer steps": 2}),
        (booked, {}),
        (taylor_scores, {}),
    ],
)
def test_training_beyond_the_booked_steps_is_counted(work: Work, excess: dict[str, int]) -> None:
    assert excess_of(work, make_trainer()) == excess


def test_a_branch_that_gives_its_result_back_hides_nothing() -> None:
    trainer = make_trainer()
    with trainer.observer.watch():
        for _ in range(2):
            with trainer.branch():
                trainer.fit(Tiny(4), 2, phase="search")
                assert trainer.observer.hand_over(trainer.meter.cost(), 0) == {}


def test_scores_of_the_harness_are_no_training() -> None:
    def score(trainer: TaskTrainer, model: nn.Module) -> None:
        from bench.channels.units import channel_layout
        from bench.graph.lowering import trace

        layout = channel_layout(trace(model, (1, 3, 16, 16)))
        for _ in range(RECIPE.calibration_crops + 1):
            gate_gradients(model, layout, trainer.calibration, trainer.criterion)

    assert excess_of(score, make_trainer()) == {}


def test_work_that_a_killed_run_has_done_is_neither_missing_nor_a_cover(tmp_path: Path) -> None:
    def train_more(trainer: TaskTrainer, model: nn.Module) -> None:
        booked(trainer, model)
        own_adam(trainer, model)

    for _ in range(2):
        torch.manual_seed(0)
        trainer = make_trainer(checkpoints=Checkpoints(tmp_path, every_seconds=0))
        assert excess_of(train_more, trainer) == {"optimizer steps": 3}

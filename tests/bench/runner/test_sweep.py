"""Methods that break the rules in a run: their rows say so, and other rows are as ever."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from torch import nn

from bench.contract import Budget, Pruned, Trainer
from bench.errors import DiskError
from bench.records import Record
from bench.report.results import collect_results
from bench.report.table import render_table
from bench.report.terminal_table import render_pivot
from bench.runner.executors.serial import SerialExecutor
from bench.runner.forecast import forecast_cells
from bench.runner.run import run_study
from bench.study.store import Store
from tasks.denoising import Denoising
from tests.fakes import FakeTask, Narrow

PRUNE = Narrow.prune
BAD_AND_GOOD = "methods=[{method='narrow', label='bad', train_steps=1}, 'narrow']"
Spoil = Callable[[Pruned, Trainer], Any]
RunWith = Callable[[Spoil], list[Record]]


@pytest.fixture
def run_with(study: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> RunWith:
    """run_with(spoil): the records of the row 'bad', which calls it, and of one that is good."""

    def run(spoil: Spoil) -> list[Record]:
        def prune(self: Narrow, model: nn.Module, budget: Budget, trainer: Trainer) -> Pruned:
            pruned = PRUNE(self, model, budget, trainer)
            if self.train_steps:
                pruned = spoil(pruned, trainer) or pruned
            return pruned

        monkeypatch.setattr(Narrow, "prune", prune)
        return run_study(study(BAD_AND_GOOD, "ratios=[0.5]"), store, SerialExecutor())

    return run


def test_training_of_its_own_is_named_in_the_row_and_no_equal_training(run_with: RunWith) -> None:
    def train(pruned: Pruned, trainer: Trainer) -> None:
        adam = torch.optim.Adam(pruned.model.parameters())
        for _ in range(30):
            pruned.model(torch.rand(1, 3, 8, 8)).square().mean().backward()
            adam.step()

    bad, good = run_with(train)
    assert bad.findings[0] == "30 optimizer steps beyond its booked 1"
    assert bad.unbooked["optimizer steps"] == 30 and good.unbooked == {} == dict(good.unbooked)
    table = render_table(collect_results([bad, good]))
    assert "not equal: bad at 0.5 trained beyond the booked steps" in table
    assert "bad at 0.5: 30 optimizer steps beyond its booked 1" in table
    assert "equal training" not in table.replace("not equal", "")
    glance = " ".join(render_pivot(collect_results([bad, good])).split())
    assert "bad at 0.5: 30 optimizer steps beyond its booked 1" in glance


def test_a_global_state_that_is_left_behind_is_named_and_changes_no_other_row(
    run_with: RunWith, study: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(pruned: Pruned, trainer: Trainer) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)

    bad, good = run_with(leave)
    assert bad.findings == (
        "it changed the grad mode from True to False",
        "it changed the default dtype from torch.float32 to torch.float64",
    )
    monkeypatch.undo()
    alone = run_study(study(BAD_AND_GOOD, "ratios=[0.5]"), Store(tmp_path / "2"), SerialExecutor())
    assert [bad.scores, good.scores] == [record.scores for record in alone]
    assert good.findings == ()


def test_a_method_that_exits_is_a_failed_row(run_with: RunWith) -> None:
    bad, good = run_with(lambda *_: sys.exit(0))
    assert (bad.status, bad.phase) == ("failed", "search") and "SystemExit" in bad.reason
    assert good.status == "done"


def test_a_disk_that_a_method_calls_full_stops_no_other_row(run_with: RunWith) -> None:
    def complain(*_: Any) -> None:
        raise DiskError("no space left on device")

    bad, good = run_with(complain)
    assert bad.reason == "DiskError: no space left on device"
    assert (bad.status, good.status) == ("failed", "done")


def test_a_trace_without_an_end_is_refused(run_with: RunWith) -> None:
    bad, good = run_with(lambda pruned, _: replace(pruned, trace=count()))
    assert bad.reason == "'trace' of the result is a count; give a tuple"
    assert good.status == "done"


@pytest.mark.parametrize("answer", [-1, 10**400, float("nan"), None, SystemExit(0)])
def test_a_forecast_that_a_method_gets_wrong_costs_no_row(
    answer: Any, study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expected_steps(*_: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(Narrow, "expected_steps", expected_steps)
    chosen = study("methods=['narrow']", "ratios=[0.5]")
    (entry,) = forecast_cells(chosen.cells(), store, "cpu").cells
    assert (entry.steps, entry.seconds) == (0, 0)


def test_a_method_that_asks_for_the_test_photographs_is_a_failed_row(run_with: RunWith) -> None:
    bad, good = run_with(lambda *_: FakeTask().test_sets("embedded") and None)
    assert bad.reason.startswith("a method asked task fake for its test photographs")
    assert good.status == "done" and FakeTask().test_sets("embedded")


@pytest.mark.parametrize("read", ["test_sets", "photographs", "all_photographs"])
def test_the_test_photographs_of_another_task_are_refused_too(run_with: RunWith, read: str) -> None:
    bad, good = run_with(lambda *_: getattr(Denoising(), read)("embedded") and None)
    assert bad.reason.startswith("a method asked task fake for its test photographs")
    assert good.status == "done"


def test_a_replaced_score_is_named_and_scores_no_row(run_with: RunWith) -> None:
    def replace_score(*_: Any) -> None:
        FakeTask.score = lambda *_: {"psnr_db": 99.0, "ssim": 1.0}  # type: ignore[method-assign]

    bad, good = run_with(replace_score)
    assert bad.findings == ("it changed the code of tests.fakes.FakeTask.score",)
    assert max(bad.means["psnr_db"], good.means["psnr_db"]) < 99


def test_a_method_gets_no_way_to_the_task_or_the_meter(run_with: RunWith) -> None:
    for spoil in (lambda _, trainer: trainer.meter, lambda _, trainer: trainer.fit.__self__):
        bad, good = run_with(spoil)
        assert bad.status == "failed" and good.status == "done"


def test_a_budget_of_another_class_that_calls_itself_equal_is_the_one_that_was_asked_for(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chameleon(Budget):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = Budget.__hash__

    def sweep(self: Narrow, model: nn.Module, budgets: Any, trainer: Trainer) -> Iterator[Any]:
        for budget in budgets:
            large = Chameleon(2 * budget.peak_bytes, budget.input_shape)
            yield large, self.prune(model, large, trainer)

    monkeypatch.setattr(Narrow, "sweep", sweep)
    (record,) = run_study(study("methods=['narrow']", "ratios=[0.4]"), store, SerialExecutor())
    assert record.reason.startswith("narrow missed its budget")


def test_more_scores_than_usual_are_named_though_declared(
    run_with: RunWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(pruned: Pruned, trainer: Trainer) -> None:
        for _ in range(trainer.recipe.calibration_crops + 1):
            pruned.model(torch.rand(1, 3, 8, 8)).sum().backward()

    monkeypatch.setattr(Narrow, "scoring_passes", lambda *_: 1000)
    bad, good = run_with(score)
    assert bad.findings == ("5 backward passes outside its training, declared as scores",)
    assert good.findings == ()


def test_test_photographs_are_read_when_the_method_has_ended(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []
    sweep = Narrow.sweep

    def note_end(self: Narrow, *arguments: Any) -> Iterator[Any]:
        try:
            yield from sweep(self, *arguments)
        finally:
            ended.append(True)

    def evaluate(*_: Any, **__: Any) -> Any:
        assert ended
        return {}

    monkeypatch.setattr(Narrow, "sweep", note_end)
    monkeypatch.setattr("bench.runner.job.evaluate", evaluate)
    records = run_study(study("methods=['narrow']"), store, SerialExecutor())
    assert [record.status for record in records] == ["done"] * 2


def test_what_a_listener_draws_between_two_results_does_not_change_the_method(
    study: Any, store: Store, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def sweep(self: Narrow, model: nn.Module, budgets: Any, trainer: Trainer) -> Iterator[Any]:
        for budget in budgets:
            drawn.append(float(torch.rand(())))
            yield budget, ValueError("not here")

    monkeypatch.setattr(Narrow, "sweep", sweep)
    for folder, draw in (("1", torch.rand), ("2", torch.zeros)):
        own = Store(tmp_path / folder)
        monkeypatch.setattr(own, "write", lambda record, draw=draw, own=own: draw(3))
        run_study(study("methods=['narrow']", "seeds=[0, 1]"), own, SerialExecutor())
    assert drawn[:4] == drawn[4:] and len(set(drawn)) == 4

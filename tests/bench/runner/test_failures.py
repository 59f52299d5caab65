"""A failure is a row with its phase and reason, and all other cells go on."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.contract import Budget, Pruned, TraceStep, Trainer
from bench.records import Record
from bench.report.results import collect_results
from bench.report.table import render_table
from bench.runner.executors.serial import SerialExecutor
from bench.runner.failures import Attempt, describe_exit
from bench.runner.run import run_study
from bench.study.store import Store
from bench.study.study import Job, Study
from bench.training.trainer import TaskTrainer
from tests.bench.report.synthetic import cell, record
from tests.fakes import FakeTask, Narrow

PRUNE = Narrow.prune
LOSS = FakeTask.loss
JOB = Job((cell(ratio=0.25), cell(ratio=0.75), cell(ratio=0.5)))


def test_a_lost_job_is_run_again_once_for_the_cells_that_have_no_record() -> None:
    first = Attempt(JOB)
    assert first.remaining_job == JOB
    first.recorded_keys.add(JOB.cells[1].key)
    second, records = first.after_loss("the worker is gone")
    assert second is not None and records == []
    assert [cell.ratio for cell in second.remaining_job.cells] == [0.5, 0.25]
    assert second.job == JOB
    second.update("phase", "finetune")
    third, records = second.after_loss("the worker is gone")
    assert third is None
    assert [record.cell.ratio for record in records] == [0.5, 0.25]
    for failure in records:
        assert (failure.status, failure.phase) == ("failed", "finetune")
        assert failure.reason == "the worker is gone, twice"


def test_a_cell_that_has_lost_two_workers_fails_alone() -> None:
    large, small = JOB.cells[1], JOB.cells[0]
    attempt: Attempt | None = Attempt(JOB)
    for number, (dying, failed) in enumerate([(large, []), (small, []), (large, [large])]):
        assert attempt is not None, number
        attempt.update("cell", dying)
        attempt, records = attempt.after_loss("the worker is gone")
        assert [record.cell for record in records] == failed
    assert attempt is not None
    assert [cell.ratio for cell in attempt.remaining_job.cells] == [0.5, 0.25]


def test_a_worker_that_dies_between_two_cells_fails_neither() -> None:
    attempt = Attempt(JOB, max_attempts=3)
    attempt.update("cell", JOB.cells[1])
    attempt.update("record", record(JOB.cells[1]))
    assert attempt.cell is None and len(attempt.remaining_cells) == 2


def test_a_worker_that_dies_after_its_last_record_has_lost_nothing() -> None:
    attempt = Attempt(JOB, recorded_keys={cell.key for cell in JOB.cells})
    assert attempt.after_loss("the worker is gone") == (None, [])


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (-9, "the worker was killed by signal 9, perhaps because memory ran out"),
        (-11, "the worker was killed by signal 11"),
        (3, "the worker ended by itself with exit code 3"),
    ],
)
def test_how_a_worker_ended_is_a_sentence(code: int, sentence: str) -> None:
    assert describe_exit(code) == sentence


BAD = "methods=[{method='narrow', label='bad', train_steps=2, %s}, 'narrow']"


def run(study: Study, store: Store, **options: Any) -> list[Record]:
    return run_study(study, store, SerialExecutor(), **options)


def prune_to_nan(self: Narrow, model: nn.Module, budget: Budget, trainer: Trainer) -> Pruned:
    """Return a network whose weights are NaN, for the row that trains."""
    pruned = PRUNE(self, model, budget, trainer)
    if self.train_steps:
        nn.init.constant_(pruned.model.out.weight, math.nan)
    return pruned


@pytest.mark.parametrize(
    ("finishing", "phase", "reason"),
    [
        ("none", "evaluate", "the scores of the network are not numbers: psnr_db nan, ssim nan"),
        (
            "finetune",
            "finetune",
            "the loss is nan at step 4 of 4 of phase 'finetune'; lower the recipe's rate",
        ),
    ],
)
def test_a_network_that_gives_no_numbers_is_a_failed_row(
    finishing: str,
    phase: str,
    reason: str,
    study: Any,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Narrow, "prune", prune_to_nan)
    bad, *good = run(study(BAD % f"finishing='{finishing}'", "ratios=[0.5]"), store)
    assert (bad.status, bad.phase, bad.reason) == ("failed", phase, reason)
    assert [record.status for record in good] == ["done"]


@pytest.mark.parametrize(
    ("function", "phase"),
    [
        ("bench.runner.job_context.load_or_train", "pretrain"),
        ("tests.fakes.narrow_network", "search"),
        ("bench.runner.job.measure_pruned_network", "check"),
        ("bench.runner.job.evaluate", "evaluate"),
        ("bench.runner.job.saved.save", "save"),
    ],
)
def test_a_row_says_in_which_phase_it_failed(
    function: str, phase: str, study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(function, fail)
    records = run(study("methods=['narrow']"), store)
    assert [(record.status, record.phase, record.reason) for record in records] == [
        ("failed", phase, "ValueError: a bug")
    ] * 2
    table = render_table(collect_results(records))
    assert f"narrow at 0.5 failed in {phase}: ValueError: a bug" in table


def test_training_that_a_method_asks_for_fails_in_its_own_phase(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def objective(self: FakeTask, restored: Tensor, clean: Tensor) -> Tensor:
        return LOSS(self, restored, clean) * (math.nan if restored.requires_grad else 1)

    run(study("methods=['unpruned']"), store)  # its network is trained before the loss breaks
    monkeypatch.setattr(FakeTask, "loss", objective)
    records = run(study("methods=[{method='narrow', train_steps=2}]"), store)
    assert {record.phase for record in records} == {"adapt"}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 9 bytes."
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:75] . DefaultCPUAllocator: not enough memory: "
            "you tried to allocate 9 bytes."
        ),
    ],
)
def test_no_memory_left_is_a_row_that_says_so(
    error: Exception, study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune(self: Narrow, *args: Any) -> Pruned:
        if self.train_steps:
            raise error
        return PRUNE(self, *args)

    monkeypatch.setattr(Narrow, "prune", prune)
    records = run(study(BAD % "finishing='none'"), store)
    assert [record.status for record in records] == ["failed", "failed", "done", "done"]
    assert records[0].reason.startswith("out of memory (") and records[0].phase == "search"


def test_no_memory_for_the_network_of_a_sweep_is_a_row_too(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(self: TaskTrainer, model: nn.Module) -> nn.Module:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    run(study("methods=['unpruned']"), store)
    monkeypatch.setattr(TaskTrainer, "prepare", prepare)
    records = run(study("methods=['narrow']"), store)
    assert [record.status for record in records] == ["failed", "failed"]
    assert all(record.reason.startswith("out of memory (") for record in records)


@pytest.mark.parametrize(
    ("name", "replacement", "reason"),
    [
        (
            "tests.fakes.FakeTask.score",
            lambda *_: {"psnr_db": math.inf},
            "scores.photos.even.psnr_db: inf is not a finite number",
        ),
        (
            "tests.fakes.TraceStep",
            lambda size, *rest: TraceStep(size + 0.5, *rest),
            "trace.peak_bytes: 22528.5 is not a whole number",
        ),
        (
            "tests.fakes.TraceStep",
            lambda size, *rest: TraceStep(np.int64(size), *rest),
            "Object of type int64 is not JSON serializable",
        ),
    ],
)
def test_an_answer_that_could_not_be_read_again_is_a_failed_row(
    name: str,
    replacement: Any,
    reason: str,
    study: Any,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(name, replacement)
    (bad,) = run(study("methods=['narrow']", "ratios=[0.5]"), store)
    advice = "give plain, finite numbers and texts"
    assert bad.status == "failed"
    assert bad.reason == f"its record cannot be stored: {reason}; {advice}"


def test_scores_may_be_numbers_of_any_kind(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        FakeTask, "score", lambda *_: {"psnr_db": np.float32(30), "ssim": torch.tensor(0.5)}
    )
    assert run(study("methods=['unpruned']"), store)[0].means == {"psnr_db": 30.0, "ssim": 0.5}


def test_a_network_whose_loss_explodes_before_it_is_trained_anew_has_a_record(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TaskTrainer, "loss", lambda *_: math.inf)
    (record,) = run(study("methods=['narrow']", "ratios=[0.5]"), store)
    assert record.status == "done" and record.calibration_loss is None


def test_an_error_that_quotes_anything_is_a_row_that_can_be_read_again(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune(*_: Any) -> None:
        raise ValueError("caf\udce9 " + "x" * 2**21)

    monkeypatch.setattr(Narrow, "prune", prune)
    (bad,) = run(study("methods=['narrow']", "ratios=[0.5]"), store)
    assert bad.reason.startswith("ValueError: caf? xxx")

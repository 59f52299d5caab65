"""A cell that exceeds its time limit is a failed row, and the others go on."""

import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from select import select
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from bench.graph.tracing import is_tracing, trace_module
from bench.runner.executors.serial import SerialExecutor
from bench.runner.progress import Progress
from bench.runner.run import run_study
from bench.runner.time_limit import Deadline, TimeLimitExceeded, _warn_no_timer
from bench.study.store import Store
from tests.bench.report.synthetic import cell
from tests.fakes import Narrow, tiny_peak_bytes

LIMIT_SECONDS = 0.2
LONG_SECONDS = 60
PRUNE = Narrow.prune


def wait_for_signal(*_: Any, **__: Any) -> None:
    """Stay in one call of the system until a signal comes."""
    select([], [], [], LONG_SECONDS)


def test_a_method_that_takes_too_long_fails_for_its_budget_alone(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune(self: Narrow, model: Any, budget: Any, trainer: Any) -> Any:
        if budget.peak_bytes > 0.7 * tiny_peak_bytes(8, budget.input_shape):
            try:
                wait_for_signal()
            except Exception:  # a method that catches every error
                wait_for_signal()
        return PRUNE(self, model, budget, trainer)

    monkeypatch.setattr(Narrow, "prune", prune)
    limit_seconds = 1.5  # enough for the other cell
    records = run_study(
        study("methods=['narrow']"), store, SerialExecutor(), time_limit_seconds=limit_seconds
    )
    assert [(record.cell.ratio, record.status) for record in records] == [
        (0.5, "done"),
        (0.75, "failed"),
    ]
    assert records[1].phase == "search"
    assert records[1].reason == "it ran past the time limit of 1.5 s"


class RingsWhileTraced(nn.Module):
    """A network whose time is over while torch.fx traces it."""

    ended: ClassVar[list[bool]] = []  # not of the network: what it assigns is taken back

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        signal.raise_signal(signal.SIGALRM)
        self.ended.append(True)
        return x + 1


def test_a_trace_ends_before_the_time_limit_is_enforced() -> None:
    call = nn.Module.__call__
    RingsWhileTraced.ended.clear()
    network = RingsWhileTraced()
    deadline = Deadline(LONG_SECONDS, Progress())
    with pytest.raises(TimeLimitExceeded), deadline.enforce(cell()):
        trace_module(network)
        wait_for_signal()
    assert network.ended and not is_tracing()
    assert nn.Module.__call__ is call


def test_work_of_the_harness_for_a_cell_counts_too(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.runner.job.measure_pruned_network", wait_for_signal)
    records = run_study(
        study("methods=['narrow']"), store, SerialExecutor(), time_limit_seconds=LIMIT_SECONDS
    )
    assert [(record.status, record.phase, record.reason) for record in records] == [
        ("failed", "check", "it ran past the time limit of 0.2 s")
    ] * 2


def test_a_cell_has_the_time_that_it_has_not_used_and_each_cell_its_own() -> None:
    deadline = Deadline(LIMIT_SECONDS, Progress())
    with deadline.enforce(cell()), pytest.raises(RuntimeError):
        raise RuntimeError
    for _ in range(2):
        with pytest.raises(TimeLimitExceeded), deadline.enforce(cell()):
            wait_for_signal()
    with deadline.enforce(cell(ratio=0.25)):
        select([], [], [], 0)


def test_without_a_timer_the_limit_is_not_kept_and_one_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _warn_no_timer.cache_clear()

    def work() -> str:
        for _ in range(2):
            with Deadline(LIMIT_SECONDS, Progress()).enforce(cell()):
                result = "done"
        return result

    with caplog.at_level(logging.WARNING, "prunebench"), ThreadPoolExecutor(1) as thread:
        assert thread.submit(work).result() == "done"
    assert len(caplog.messages) == 1 and "the time limit is not enforced here" in caplog.text


def test_a_trace_that_ends_with_the_work_does_not_save_a_late_cell() -> None:
    deadline = Deadline(LONG_SECONDS, Progress())
    with pytest.raises(TimeLimitExceeded), deadline.enforce(cell()):
        trace_module(RingsWhileTraced())

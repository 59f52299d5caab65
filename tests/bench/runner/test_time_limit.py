"""A cell that takes longer than it may is a failed row, and the others go on."""

import logging
from concurrent.futures import ThreadPoolExecutor
from select import select
from typing import Any

import pytest

from bench.runner.executors.serial import Serial
from bench.runner.progress import Progress
from bench.runner.run import run_study
from bench.runner.time_limit import Allowance, OutOfTime, _say_that_there_is_none
from bench.study.store import Store
from tests.bench.report.synthetic import cell
from tests.fakes import Narrow, tiny_peak_bytes

LIMIT_SECONDS = 0.2
LONG_SECONDS = 60
PRUNE = Narrow.prune


def never(*_: Any, **__: Any) -> None:
    """One call of the system, until a signal comes."""
    select([], [], [], LONG_SECONDS)


def test_a_method_that_takes_too_long_fails_for_its_budget_alone(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune(self: Narrow, model: Any, budget: Any, trainer: Any) -> Any:
        if budget.peak_bytes > 0.7 * tiny_peak_bytes(8, budget.input_shape):
            try:
                never()
            except Exception:  # a method that takes errors for its own
                never()
        return PRUNE(self, model, budget, trainer)

    monkeypatch.setattr(Narrow, "prune", prune)
    records = run_study(
        study("methods=['narrow']"), store, Serial(), time_limit_seconds=1.5
    )  # ample for the other cell
    assert [(one.cell.ratio, one.status) for one in records] == [(0.5, "done"), (0.75, "failed")]
    assert (records[1].phase, records[1].reason) == (
        "search",
        "it ran past the time limit of 1.5 s",
    )


def test_what_the_harness_does_for_a_cell_counts_too(
    study: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.runner.job.evaluate", never)
    records = run_study(
        study("methods=['narrow']"), store, Serial(), time_limit_seconds=LIMIT_SECONDS
    )
    assert [(one.status, one.phase, one.reason) for one in records] == [
        ("failed", "evaluate", "it ran past the time limit of 0.2 s")
    ] * 2


def test_time_that_is_left_is_what_no_work_has_used() -> None:
    time = Allowance(LIMIT_SECONDS, Progress())
    with time.running(cell()), pytest.raises(RuntimeError):
        raise RuntimeError
    with pytest.raises(OutOfTime), time.running(cell()):
        never()
    with pytest.raises(OutOfTime), time.running(cell()):
        never()
    time.renew()
    with time.running(cell()):
        select([], [], [], 0)


def test_without_a_timer_the_limit_is_not_kept_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _say_that_there_is_none.cache_clear()

    def works() -> str:
        for _ in range(2):
            with Allowance(LIMIT_SECONDS, Progress()).running(cell()):
                done = "done"
        return done

    with caplog.at_level(logging.WARNING, "prunebench"), ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(works).result() == "done"
    assert len(caplog.messages) == 1 and "the time limit is not kept here" in caplog.text

"""The forecast time of a study on several devices."""

from dataclasses import replace

import pytest

from bench.runner.executors.serial import SerialExecutor
from bench.runner.plan import format_plan, make_plan, makespan
from bench.runner.run import forecast_study, run_study


@pytest.mark.parametrize(("devices", "seconds"), [(1, 12.0), (2, 6.0), (3, 6.0), (8, 6.0)])
def test_the_next_job_goes_to_the_first_free_device_and_the_longest_job_bounds_the_time(
    devices: int, seconds: float
) -> None:
    assert makespan([6.0, 3.0, 2.0, 1.0], devices) == seconds
    assert makespan([], devices) == 0


def test_a_plan_has_the_jobs_of_what_is_missing_longest_first_after_the_unpruned_networks(
    study, store
) -> None:
    rows = study(
        "methods=['unpruned', 'narrow', {method='narrow', label='long', finishing='scratch'}]"
    )
    plan = make_plan(rows, forecast_study(rows, store), (1, 2, 4))
    assert [(job.what, job.ratios, job.steps) for job in plan.jobs] == [
        ("fake tiny, long, seed 0", 2, 20),
        ("fake tiny, narrow, seed 0", 2, 8),
        ("fake tiny, unpruned, seed 0", 1, 0),
    ]
    long, narrow, _ = (job.seconds for job in plan.jobs)
    first = plan.pretraining[0].seconds
    assert plan.seconds == pytest.approx(
        {1: first + long + narrow, 2: first + long, 4: first + long}
    )
    text = format_plan(plan, store.folder)
    assert "unpruned tiny, seed 0: 6 steps" in text
    assert "5 of 5 cells to run in 3 jobs, 34 training steps" in text
    assert not store.folder.exists()


def test_the_time_of_finished_cells_is_preferred_to_a_few_timed_steps(
    study, store, monkeypatch
) -> None:
    done = run_study(study("ratios=[0.5]"), store, SerialExecutor())[-1]
    store.write(replace(done, seconds={"finetune": 3.0, "evaluate": 0.25}, steps={"finetune": 5}))
    monkeypatch.setattr("bench.runner.forecast.time_training_step", None)
    forecast = forecast_study(study("ratios=[0.5, 1.0]"), store)
    assert [entry.seconds for entry in forecast.cells] == [pytest.approx(4 * 3.25 / 5 / 0.65)]

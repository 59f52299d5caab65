"""Runs of the fake task: rows, faults that become rows, resumption, costs, progress messages."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.contract import Method
from bench.export.saved import load
from bench.records import Record
from bench.runner.executors.serial import SerialExecutor
from bench.runner.forecast import expected_steps
from bench.runner.progress import Progress, TextProgress
from bench.runner.run import forecast_study
from bench.runner.run import run_study as run_study_with
from bench.study.store import Store
from bench.study.study import Job, Study
from bench.training.evaluation import evaluate, means
from bench.training.trainer import TaskTrainer
from tests.fakes import FakeTask, Narrow, tiny_peak_bytes

NARROW = "methods=[{method='narrow', label='narrow', %s}]"
SHAPE = (1, 3, 32, 32)


def run_study(study: Study, store: Store, **options: Any) -> list[Record]:
    """Run one job after the other in this process."""
    return run_study_with(study, store, SerialExecutor(), **options)


def test_every_cell_gets_a_record_within_its_budget(study, store):
    records = run_study(study(), store)
    assert [(r.cell.label, r.cell.ratio, r.status) for r in records] == [
        ("unpruned", 1.0, "done"),
        ("narrow", 0.5, "done"),
        ("narrow", 0.75, "done"),
    ]
    unpruned, half, _ = records
    assert unpruned.peak_bytes == unpruned.peak_bytes_eager == tiny_peak_bytes(8, SHAPE)
    assert unpruned.steps == {}
    assert half.budget_bytes == unpruned.peak_bytes // 2
    assert half.peak_bytes == tiny_peak_bytes(2, SHAPE) <= half.budget_bytes
    assert half.widths == {"first": 2} and half.kept == {"first": [0, 1]}
    assert (half.bottleneck, half.bottleneck_channels) == (("first",), 2)
    assert half.parameters == 2 * 28 + 3 * 19
    assert half.steps == {"finetune": 4} and half.units_at_floor == 0
    assert half.trace[0]["note"] == "cut"
    assert set(half.means) == set(half.input_means) == {"psnr_db", "ssim"}
    assert half.calibration_loss > 0
    assert set(half.scores["photos"]) == {"even", "odd"} and half.environment["threads"] == 1


def test_a_record_has_the_losses_of_every_phase_and_the_quality_during_the_finish(study, store):
    _, half, _ = run_study(study(), store)
    assert list(half.training_losses) == ["finetune"]
    assert [step for step, _ in half.training_losses["finetune"]] == [1, 2, 3, 4]
    assert [step for step, _ in half.calibration_psnr] == [1, 2, 3, 4]
    assert all(0 < psnr_db < 100 for _, psnr_db in half.calibration_psnr)
    assert store.read(half.key) == half


def test_the_network_of_a_record_is_stored_finished(study, store):
    record = run_study(study("ratios=[0.5]"), store)[1]
    scores = evaluate(FakeTask(), load(store.model_folder(record.key)), "embedded")
    assert means(scores) == pytest.approx(record.means)


def test_a_record_has_the_memory_of_every_time_step_and_crops_to_look_at(study, store):
    record = run_study(study(), store)[-1]
    assert max(step["bytes"] for step in record.timeline) == record.peak_bytes
    assert all(sum(step["live"].values()) == step["bytes"] for step in record.timeline)
    restored, shared = store.crop_folders(record.cell)
    names = [
        sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
        for folder in (restored, shared / "clean", shared / "degraded")
    ]
    assert len(names[0]) == 3 and names[0] == names[1] == names[2]


def test_a_cell_with_a_record_is_not_run_again(study, store, monkeypatch):
    first = run_study(study(), store)
    monkeypatch.setattr(Narrow, "prune", None)
    monkeypatch.setattr(TaskTrainer, "fit", None)
    assert run_study(study(), store) == first


def test_a_new_ratio_asks_the_method_only_for_itself(study, store, monkeypatch):
    run_study(study(), store)
    budget_counts = []
    sweep = Method.sweep

    def note_sweep(self, model, budgets, trainer):
        budget_counts.append(len(budgets))
        return sweep(self, model, budgets, trainer)

    monkeypatch.setattr(Narrow, "sweep", note_sweep)
    assert len(run_study(study("ratios=[0.5, 0.6, 0.75]"), store)) == 4
    assert budget_counts == [1]


def test_a_result_does_not_depend_on_the_other_budgets(study, store, tmp_path):
    other_store = Store(tmp_path / "alone")
    together = run_study(study(NARROW % "train_steps=2"), store)[0]
    alone = run_study(study(NARROW % "train_steps=2", "ratios=[0.5]"), other_store)[0]
    assert together.key == alone.key and together.means == alone.means
    assert together.steps == alone.steps == {"adapt": 2, "finetune": 4}
    weights, other_weights = (
        load(run.model_folder(alone.key)).state_dict() for run in (store, other_store)
    )
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


def test_one_more_method_changes_no_number_of_the_others(study, store, tmp_path):
    alone = run_study(study("ratios=[0.5]"), store)
    other = Store(tmp_path / "other")
    both = run_study(
        study(
            "ratios=[0.5]",
            "methods=['unpruned', {method='narrow', label='before', train_steps=3}, 'narrow']",
        ),
        other,
    )
    by_label = {record.cell.label: record for record in both}
    assert set(by_label) == {"unpruned", "before", "narrow"}
    for record in alone:
        assert by_label[record.cell.label].scores == record.scores
        assert by_label[record.cell.label].key == record.key


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raises", "ValueError: a bug in the method"),
        ("over", "narrow missed its budget: the planned peak is 45056 bytes"),
        ("hook", "left a hook or a parametrisation on 'first'"),
        ("shape", r"output \(1, 4, 32, 32\); the unpruned one gives \(1, 3, 32, 32\)"),
        ("kept", "is not the backbone with these kept channels"),
    ],
)
def test_a_fault_of_the_method_is_a_row_and_the_others_go_on(study, store, fault, reason):
    methods = (
        f"methods=[{{method='narrow', label='bad', fault='{fault}', fault_below=0.8}}, 'narrow']"
    )
    records = run_study(study(methods, "ratios=[0.5, 0.9]"), store)
    assert [r.status for r in records] == ["failed", "done", "done", "done"]
    assert records[0].peak_bytes is None and records[0].means == {}
    assert "Error" in "".join(records[0].environment["traceback"])
    assert re.search(reason, records[0].reason) and "\n" not in records[0].reason


def test_an_error_at_one_budget_does_not_stop_the_smaller_ones(study, store, monkeypatch):
    prune = Narrow.prune

    def fail_first(self, model, budget, trainer):
        if budget.peak_bytes > tiny_peak_bytes(8, SHAPE) * 0.7:
            raise ValueError("too large for me")
        return prune(self, model, budget, trainer)

    monkeypatch.setattr(Narrow, "prune", fail_first)
    assert [r.status for r in run_study(study(NARROW % "fault=''"), store)] == ["done", "failed"]


def test_failed_cells_run_again_on_request_only(study, store, monkeypatch):
    broken = study(NARROW % "fault='raises'", "ratios=[0.5]")
    prune = Narrow.prune
    run_study(broken, store)
    monkeypatch.setattr(Narrow, "prune", lambda self, *args: prune(replace(self, fault=""), *args))
    assert run_study(broken, store)[0].status == "failed"
    assert run_study(broken, store, retry_failed=True)[0].status == "done"


def test_an_impossible_budget_is_a_row_with_the_least_peak(study, store):
    records = run_study(study("ratios=[0.1, 0.5]", NARROW % "fault=''"), store)
    assert [r.status for r in records] == ["infeasible", "done"]
    assert "the least peak that is possible is 0.0 MiB" in records[0].reason
    assert records[0].environment["least_bytes"] == tiny_peak_bytes(1, SHAPE)
    assert records[0].budget_bytes == int(0.1 * tiny_peak_bytes(8, SHAPE))


def test_matched_compute_counts_what_the_method_has_trained(study, store):
    matched = ("compute='matched'", "recipe.matched_steps=5", "ratios=[0.5]")
    plain, trained, scratch, overspent = (
        run_study(study(*matched, NARROW % options), store)[0]
        for options in ("train_steps=0", "train_steps=3", "finishing='scratch'", "train_steps=7")
    )
    assert plain.steps == {"finetune": 5} and trained.steps == {"adapt": 3, "finetune": 2}
    assert scratch.steps == {"pretrain": 6, "finetune": 5}
    assert overspent.steps == {"adapt": 7} and "2 steps more" in overspent.environment["note"]


def test_an_interrupted_run_keeps_its_finished_records(study, store):
    class Interrupts(Progress):
        def on_record(self, record):
            if record.cell.label == "narrow":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study(), store, progress=Interrupts())
    assert [r.cell.ratio for r in store.records()] == [1.0, 0.75]
    assert len(run_study(study(), store)) == 3


def test_pretraining_that_diverges_is_a_row_for_each_of_its_cells(study, store):
    records = run_study(study("recipe.pretrain_rate=1e30"), store)
    assert [r.status for r in records] == ["failed"] * 3
    assert "of phase 'pretrain'" in records[0].reason


def test_an_estimate_writes_nothing_and_counts_the_steps(study, store):
    rows = ", ".join(
        f"{{method='narrow', finishing='{finish}'}}" for finish in ("none", "finetune", "scratch")
    )
    forecast = forecast_study(study(f"methods=[{rows}]", "ratios=[0.5]"), store)
    assert [entry.steps for entry in forecast.cells] == [0, 4, 10]
    assert [steps for _, steps, _ in forecast.pretraining] == [6]
    assert forecast.steps == 20 and forecast.seconds > 0 and not store.folder.exists()
    run_study(study(), store)
    assert forecast_study(study(), store).cells == () and expected_steps(study().cells()[1]) == 4


def test_a_finished_pretraining_is_not_repeated_by_a_study_that_goes_on_otherwise(study, store):
    scratch = "methods=[{method='narrow', finishing='scratch'}]"
    store = Store(store.folder, 1e-9)  # no training is too short to be kept
    first = run_study(study(scratch, "ratios=[0.5]"), store)[-1]
    longer = study(scratch, "ratios=[0.5]", "recipe.finetune_steps=5")
    (forecast,) = forecast_study(longer, store).cells
    assert forecast.steps == 11
    assert forecast.seconds == pytest.approx(5 / 10 * sum(first.seconds.values()), rel=0.01)
    taken = []
    step = torch.optim.Adam.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", lambda *a, **o: taken.append(step(*a, **o)))
        second = run_study(longer, store)[-1]
    assert second.steps == {"pretrain": 6, "finetune": 5} and len(taken) == 5
    assert second.training_losses["pretrain"] == first.training_losses["pretrain"]


def test_progress_says_what_runs_and_how_much_is_left(study, store):
    text = io.StringIO()
    run_study(study(), store, progress=TextProgress(text))
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("3 of 3 cells to run, about")
    assert lines[-1].startswith("[3/3] 'narrow', ratio 0.5, seed 0: psnr_db")
    assert "(1 left, about" in lines[-2]
    run_study(study(), store, progress=TextProgress(text))
    assert text.getvalue().splitlines()[-1] == "all 3 cells are stored"


class TwoWorkers(SerialExecutor):
    """Claims to have two workers, and notes the order of the jobs."""

    workers = 2

    def run_all(self, queue, runner, progress):
        self.labels = [job.cells[0].label for job in queue._waiting if isinstance(job, Job)]
        return super().run_all(queue, runner, progress)


def test_several_workers_start_with_the_longest_job(study, store):
    short = "{method='narrow', label='short'}"
    long = "{method='narrow', label='long', finishing='scratch'}"
    executor = TwoWorkers()
    run_study_with(study(f"methods=['unpruned', {short}, {long}]"), store, executor)
    assert executor.labels == ["long", "short", "unpruned"]


def test_the_checkpoints_of_a_job_are_deleted_when_it_is_done_and_kept_when_a_cell_failed(
    study, store, monkeypatch
):
    store = Store(store.folder, 1e-9)
    whole = "{method='narrow', label='whole', train_steps=2}"
    bad = "{method='narrow', label='bad', train_steps=1, fault='shape'}"
    records = run_study(study(f"methods=[{whole}, {bad}]", "ratios=[0.5]"), store)
    assert [record.status for record in records] == ["done", "failed"]
    assert [store.checkpoints(record.cell).folder.exists() for record in records] == [False, True]


def test_a_cell_that_another_run_answers_meanwhile_is_not_run_again_even_with_the_same_answer(
    study, store, monkeypatch
):
    broken = study(NARROW % "fault='raises'", "ratios=[0.5]")
    (first,) = run_study(broken, store)
    monkeypatch.setattr(Narrow, "prune", None)

    class OtherRun(Progress):
        def on_begin(self, *_):
            store.write(first)

    assert run_study(broken, store, retry_failed=True, progress=OtherRun()) == [first]


def test_checkpoints_of_a_run_that_was_killed_after_its_last_cell_are_deleted(study, store):
    run_study(study(), store)
    folders = [store.checkpoints(record.cell).folder for record in store.records()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    run_study(study(), store)
    assert not any(folder.exists() for folder in folders)

"""What MLflow shows of a record: few metrics, whole curves, every part of the data."""

import os
from pathlib import Path

import pytest

from bench.report.mlflow_values import (
    Point,
    cell_params,
    common_params,
    curve_points,
    data_splits,
    describe_result,
    headline_points,
    metric_name,
    model_name,
    record_metrics,
    time_span,
    user_name,
)
from bench.report.results import collect_results
from bench.study.store import Store
from tests.bench.report.synthetic import cell, record, scored_record, study_records
from tests.bench.report.synthetic import unfinished_record as unfinished


def test_params_are_flat_and_cut_where_long() -> None:
    flat = cell_params(cell(method_options={"list": list(range(1000))}))
    assert flat["backbone_options.width"] == "8"
    assert len(flat["method_options.list"]) == 500 and flat["method_options.list"].endswith(" ...")
    assert "label" not in flat and "data" not in flat


def test_a_study_has_the_params_that_its_rows_share() -> None:
    shared = common_params([cell("mosp", 0.25), cell("mosp", 0.5), cell("uniform", 0.5)])
    assert shared["task"] == "denoising" and shared["seed"] == "0"
    assert not {"ratio", "method"} & shared.keys()


def test_a_record_has_five_metrics_and_an_unfinished_one_has_none() -> None:
    assert record_metrics(record(cell())).keys() == {
        *("psnr_db", "ssim", "peak_mib", "parameters", "seconds")
    }
    assert record_metrics(unfinished(cell(), "failed", "it broke")) == {}


def test_the_description_is_the_result_or_the_reason() -> None:
    assert "peak 96.0 MiB" in describe_result(record(cell()))
    assert describe_result(unfinished(cell(), "failed", "it broke")) == "failed: it broke"
    marked = record(cell(), findings=("300 optimizer steps beyond the booked ones",))
    assert describe_result(marked).endswith("; 300 optimizer steps beyond the booked ones")


def test_curves_have_a_metric_for_each_phase_with_its_real_steps() -> None:
    trained = record(
        cell(),
        training_losses={"search: all": [[5, 0.5]], "finetune": [[10, 0.2], [20, 0.1]]},
        calibration_psnr=([20, 30.0],),
    )
    assert curve_points(trained) == [
        Point("loss/search all", 0.5, 5),
        Point("loss/finetune", 0.2, 10),
        Point("loss/finetune", 0.1, 20),
        Point("calibration_psnr_db", 30.0, 20),
    ]


def test_the_headline_is_one_curve_for_each_label_over_the_budget() -> None:
    points = headline_points(collect_results(study_records()))
    steps = [point.step for point in points if point.name == "psnr_db/uniform from scratch"]
    assert sorted(steps) == [25, 50, 75]


def test_headlines_of_two_tasks_stay_apart() -> None:
    other = cell(task="deblurring", method_options={"row": "other"})
    names = [
        point.name for point in headline_points(collect_results([record(cell()), record(other)]))
    ]
    assert names == ["psnr_db denoising unet 1/mosp", "psnr_db deblurring unet 2/mosp"]


def test_every_part_of_the_data_is_named() -> None:
    splits = data_splits(scored_record("mosp", [0, 1]))
    assert [(split.name, split.context, split.photographs) for split in splits] == [
        ("embedded, training", "training", None),
        ("embedded, calibration", "calibration", None),
        ("embedded, test set set", "test", 2),
    ]


def test_a_record_ended_when_its_network_was_written_and_began_before(tmp_path: Path) -> None:
    store, done = Store(tmp_path), record(cell())  # 30 seconds of training
    store.write(done)
    file = store.model_folder(done.key) / "weights.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    os.utime(file, (1000.0, 1000.0))
    assert time_span(store, done) == (970_000, 1_000_000)


def test_names_have_only_characters_that_mlflow_allows() -> None:
    assert metric_name("L1, peak-aware (a/b)") == "L1 peak-aware a b"
    assert model_name(cell("a/b: c", 0.5)) == "a_b_ c 0_5 seed 0"


def test_a_system_without_a_name_for_the_user_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: {}["uid"])
    assert user_name() == "unknown"

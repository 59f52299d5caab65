"""Networks in MLflow: loaded without pickle, registered once, chosen without a guess."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from bench.errors import ConfigError
from bench.export import saved
from bench.report.mlflow_model import check_name, choose_network
from bench.report.mlflow_sync import log_study, register_network, tracking_uri
from bench.study.store import Store
from tests.bench.report.synthetic import cell, record, unfinished_record
from tests.fakes import Tiny

TRAINED = replace(
    record(cell("mosp", 0.25)),
    training_losses={"finetune": [[10, 0.2], [20, 0.1]]},
    scores={"photos": {"harbour": {"psnr_db": 28.0}}},
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copied study of one record that has a network."""
    store = Store(tmp_path)
    store.write_study("demo", [TRAINED.cell])
    store.write(TRAINED)
    saved.save_graph(store.model_folder(TRAINED.key), Tiny(4))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert log_study(tmp_path, "demo", store.records()) == 1
    # The functions of mlflow, unlike the client, use the global URI.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(tmp_path))
    return store


def read_run(store: Store) -> tuple[MlflowClient, Any]:
    """Return the client and the run of the record."""
    client = MlflowClient(tracking_uri=tracking_uri(store.folder))
    experiment = client.get_experiment_by_name("prunebench").experiment_id
    return client, client.search_runs([experiment], "tags.`mlflow.parentRunId` != ''")[0]


def test_a_network_is_loaded_and_registered_once(store: Store) -> None:
    assert register_network(store, TRAINED, "denoiser") == (1, True)
    assert register_network(store, TRAINED, "denoiser") == (1, False)
    loaded = mlflow.pyfunc.load_model("models:/denoiser/1")
    images = np.random.rand(1, 3, 32, 32).astype("float32")
    network = saved.load(store.model_folder(TRAINED.key))
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert np.array_equal(loaded.predict(images), expected)
    assert isinstance(loaded.get_raw_model(), torch.nn.Module)
    files = store.folder.glob("mlflow_artifacts/models/*/artifacts/**/*")
    assert not [file for file in files if file.suffix in (".pkl", ".pth", ".pt")]


def test_a_run_shows_its_model_data_sets_source_and_times(store: Store) -> None:
    _, run = read_run(store)
    assert len(run.outputs.model_outputs) == 1
    assert {
        (entry.dataset.name, entry.dataset.digest, entry.tags[0].value)
        for entry in run.inputs.dataset_inputs
    } == {
        ("embedded, training", "f", "training"),
        ("embedded, calibration", "f", "calibration"),
        ("embedded, test set photos", "f", "test"),
    }
    assert run.info.end_time - run.info.start_time == pytest.approx(30_000, abs=1)
    assert run.data.tags["mlflow.source.name"] == "prunebench" and run.data.tags["mlflow.user"]


def test_curves_have_real_steps_and_are_not_doubled_by_a_second_copy(store: Store) -> None:
    client, run = read_run(store)
    for note in store.folder.glob("mlflow-*.json"):
        note.unlink()
    changed = replace(TRAINED, environment={"note": "another"})
    assert log_study(store.folder, "demo", [changed]) == 1
    history = client.get_metric_history(run.info.run_id, "loss/finetune")
    assert [(point.step, point.value) for point in history] == [(10, 0.2), (20, 0.1)]
    assert len(client.search_logged_models([run.info.experiment_id])) == 1


def test_the_experiment_says_that_it_is_about_training(store: Store) -> None:
    client, run = read_run(store)
    tags = client.get_experiment(run.info.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.params["recipe.matched_steps"] == "2700"
    assert parent.data.metrics == {"psnr_db/mosp": TRAINED.means["psnr_db"]}


def test_a_network_is_chosen_by_label_ratio_and_seed() -> None:
    records = [record(cell("mosp", ratio, seed)) for ratio in (0.25, 0.5) for seed in (0, 1)]
    assert choose_network(records, "MOSP", 0.25, 1) is records[1]
    assert choose_network(records[:1], None, None, None) is records[0]


@pytest.mark.parametrize(
    ("label", "ratio", "message"),
    [
        ("mosp", None, '--label mosp has 2; .* of "mosp 0.25 seed 0", "mosp 0.5 seed 0"'),
        ("mops", 0.5, "--label mops --ratio 0.5 has 0"),
        ("dhp", 0.5, "--label dhp --ratio 0.5 has 0"),  # it failed: there is no network
    ],
)
def test_a_choice_of_no_network_or_of_two_is_refused(
    label: str, ratio: float | None, message: str
) -> None:
    records = [record(cell("mosp", ratio)) for ratio in (0.25, 0.5)]
    records.append(unfinished_record(cell("dhp"), "failed", "it broke"))
    with pytest.raises(ConfigError, match=message):
        choose_network(records, label, ratio, None)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "it's"])
def test_a_name_that_mlflow_refuses_is_refused_first(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name for a model"):
        check_name(name)


def test_the_headline_of_a_study_that_grows_keeps_its_points_single(store: Store) -> None:
    later = replace(TRAINED, cell=cell("mosp", 0.5))
    assert log_study(store.folder, "demo", [TRAINED, later]) == 1
    client, run = read_run(store)
    history = client.get_metric_history(run.data.tags["mlflow.parentRunId"], "psnr_db/mosp")
    assert [point.step for point in history] == [25, 50]

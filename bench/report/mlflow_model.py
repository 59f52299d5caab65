"""Networks in MLflow: a model of the flavour pyfunc for each record that has a network.

    net = mlflow.pyfunc.load_model("models:/NAME/1")
    net.predict(images)         # numpy, float32, (N, C, H, W)
    net.get_raw_model()         # the torch.nn.Module

The flavour pytorch would write the network with pickle, and loading it would run what the file
says. A pyfunc names a module that loads the files of prunebench, spec.json and
weights.safetensors, as they are (`bench.export.saved`): nothing of them is run. Whoever loads it
needs prunebench, and the package of the task if that is a plugin.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from bench.errors import ConfigError
from bench.export import saved
from bench.records import Record
from bench.report.mlflow_values import cell_params, describe_run, model_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG_VERSIONS = "mlflow.modelVersions"
BAD_IN_NAME = "/:'"


class LoadedNetwork:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def predict(self, images: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Restore images, an array (N, C, H, W) of float32 in 0..1, in the same form."""
        with torch.inference_mode():
            return self._network(torch.from_numpy(np.ascontiguousarray(images))).numpy()

    def get_raw_model(self) -> nn.Module:
        """Return the network itself."""
        return self._network


def _load_pyfunc(folder: str) -> LoadedNetwork:
    """Load a network; MLflow finds this function by its name."""
    return LoadedNetwork(saved.load(folder))


def log_network(
    client: "MlflowClient", experiment: str, run: str, record: Record, folder: Path
) -> str:
    """Log the network in `folder` as an output of a run, and return the id of the model.

    A model of the run that an earlier copy has left is written again.
    """
    from mlflow.entities import LoggedModelOutput

    model = find_model(client, experiment, run) or client.create_logged_model(
        experiment, model_name(record.cell), run, params=cell_params(record.cell)
    )
    model_id = str(model.model_id)
    outputs = client.get_run(run).outputs
    if not outputs or model_id not in [output.model_id for output in outputs.model_outputs]:
        client.log_outputs(run, [LoggedModelOutput(model_id, step=0)])
    with TemporaryDirectory() as scratch:
        target = Path(scratch) / "model"
        _save_pyfunc(target, folder, run, model_id, channels=record.cell.measured_at[1])
        client.log_model_artifacts(model_id, str(target))
    client.finalize_logged_model(model_id, "READY")
    return model_id


def find_model(client: "MlflowClient", experiment: str, run: str) -> Any:
    """Return the model that was logged for a run; None if there is none."""
    return next(iter(client.search_logged_models([experiment], f"source_run_id = '{run}'")), None)


def _save_pyfunc(target: Path, folder: Path, run: str, model_id: str, channels: int) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype("float32"), (-1, channels, -1, -1))
    description = Model(
        run_id=run,
        model_uuid=model_id,
        model_id=model_id,
        signature=ModelSignature(Schema([images])),
    )
    mlflow.pyfunc.save_model(
        target,
        loader_module=__name__,
        data_path=str(folder),
        pip_requirements=["prunebench"],
        mlflow_model=description,
    )


def register(client: "MlflowClient", run: str, model: Any, name: str) -> tuple[int, bool]:
    """Register the model of a run; return its version, and whether that is a new one."""
    source = model.artifact_location
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.source == source:
            return int(version.version), False
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, source, run, model_id=model.model_id)
    # By this tag the pages of a run and a model know their versions.
    versions = json.loads(model.tags.get(TAG_VERSIONS, "[]"))
    versions.append({"name": name, "version": int(version.version)})
    client.set_logged_model_tags(model.model_id, {TAG_VERSIONS: json.dumps(versions)})
    return int(version.version), True


def check_name(name: str) -> None:
    """Raise ConfigError for a name that MLflow refuses for a registered model."""
    if not name.strip() or set(name) & set(BAD_IN_NAME):
        raise ConfigError(
            f"--register {name!r} is not a name for a model; use letters, digits and hyphens"
        )


def choose_network(
    records: list[Record], label: str | None, ratio: float | None, seed: int | None
) -> Record:
    """Return the one finished record that has this label, ratio and seed; None matches all.

    Raises:
        ConfigError: there is none, or more than one.
    """
    matches = [
        record
        for record in records
        if record.status == "done"
        and (label is None or record.cell.label.casefold() == label.casefold())
        and ratio in (None, record.cell.ratio)
        and seed in (None, record.cell.seed)
    ]
    if len(matches) == 1:
        return matches[0]
    asked = {"--label": label, "--ratio": ratio, "--seed": seed}
    words = " ".join(f"{name} {value}" for name, value in asked.items() if value is not None)
    found = ", ".join(f'"{describe_run(record.cell)}"' for record in (matches or records)[:5])
    raise ConfigError(
        f"--register takes one network, and {words or 'the run'} has {len(matches)}; choose one "
        f"with --label, --ratio and --seed, for example of {found or 'a run that has records'}"
    )

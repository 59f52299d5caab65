"""Records in a tracking server of MLflow, which a run and `prunebench sync` reach over HTTP."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from bench.cli.main import main
from bench.report.mlflow_sync import MlflowCopy
from bench.runner.executors.serial import SerialExecutor
from bench.runner.run import run_study

READY = "Application startup complete"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a server with a database and artifacts of its own; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database, artifacts = f"sqlite:///{tmp_path / 'server.db'}", tmp_path / "artifacts"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}"),
            *(f"--backend-store-uri={database}", f"--artifacts-destination={artifacts}"),
        ],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert any(READY in line for line in process.stdout), "the server has ended"
    Thread(target=process.stdout.read, daemon=True).start()  # else its log would fill the pipe
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def find_runs(client: Any) -> list[Any]:
    """Return the runs of the study, its parent first."""
    experiment = client.get_experiment_by_name("prunebench")
    runs = client.search_runs([experiment.experiment_id])
    return sorted(runs, key=lambda run: "mlflow.parentRunId" in run.data.tags)


@pytest.mark.slow
def test_a_server_gets_each_record_during_a_run_and_the_rest_from_sync(
    server: str, study: Any, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    records = run_study(study(), store, SerialExecutor(), progress=MlflowCopy(store))
    client = mlflow.MlflowClient(server)
    parent, *nested = find_runs(client)
    assert parent.info.status == "RUNNING"
    assert {run.data.tags["prunebench.key"] for run in nested} == {record.key for record in records}
    next(store.folder.glob("mlflow-*.json")).unlink()  # the server itself knows what it has
    register = ["--register", "small", "--label", "narrow", "--ratio", "0.5"]
    assert main(["sync", str(store.folder), *register]) == 0
    printed = capsys.readouterr()
    assert (printed.err, printed.out.count("\n")) == ("", 2)
    parent, *nested = find_runs(client)
    assert parent.info.status == "FINISHED" and len(nested) == len(records)
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"figures", "report.html", "table.json"} <= artifacts
    network = mlflow.pyfunc.load_model("models:/small/1")
    assert network.predict(np.zeros((1, 3, 16, 16), np.float32)).shape == (1, 3, 16, 16)

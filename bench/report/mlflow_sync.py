"""Copies of records in MLflow: the only adapter to mlflow.

The records on disk are the originals; MLflow holds a copy that `prunebench sync RUN` can make at
any time. A study is one run, with one nested run per record, written by one process at a time
(parallel first writers race in MLflow's migrations). A note in the run folder, one small file per
tracking URI, lists the copied records, so that a repeated command neither copies twice nor imports
mlflow in vain, which takes two seconds. If the note is missing, MLflow itself is asked which keys
it has.

The tracking URI is the argument, else MLFLOW_TRACKING_URI, else a sqlite file: for a run folder
X/runs/STUDY it is X/mlflow.db, shared by all studies of X; for any other folder it lies in the
folder. Artifacts of a sqlite file lie beside it in mlflow_artifacts.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.files import atomic
from bench.files.hashing import digest
from bench.files.lock import hold_lock
from bench.records import NOT_IN_KEY, Cell, Record
from bench.report.mlflow_state import SQLITE, check_writable, read_note, sqlite_path, write_note
from bench.study.store import Store
from bench.units import mib

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "prunebench"
TAG_KEY = "prunebench.key"
TAG_STATUS = "prunebench.status"
TAG_STUDY = "prunebench.study"
TAG_FOLDER = "prunebench.folder"
TAG_PARENT = "mlflow.parentRunId"
TAG_NAME = "mlflow.runName"
TAG_LOGGED_ARTIFACTS = "mlflow.loggedArtifacts"
MAX_PARAM_LENGTH = 500
QUIET_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a benchmark does not report its use to anyone
    # A server that does not answer is a warning within a minute, not after an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
FORMATS = ("md", "csv", "tex")
TABLE = "table.json"


def tracking_uri(folder: Path, uri: str | None = None) -> str:
    """Return the tracking URI that the records of a run folder are copied to."""
    run_folder = folder.resolve()
    base_folder = run_folder.parent.parent if run_folder.parent.name == "runs" else run_folder
    return (
        uri
        or os.environ.get("MLFLOW_TRACKING_URI")
        or f"{SQLITE}{(base_folder / 'mlflow.db').as_posix()}"
    )


def log_study(
    store_folder: Path | str,
    study_name: str,
    records: Sequence[Record],
    cells: Sequence[Cell] = (),
    uri: str | None = None,
) -> int | None:
    """Copy the records that MLflow does not have yet.

    If MLflow fails, a warning is printed on stderr, and the records stay as they are.

    Args:
        store_folder: the run folder; its `models/KEY` hold the networks.
        study_name: of the parent run.
        records: all records of the study; those that were copied with the same content are skipped.
        cells: of the study, for pending rows of the table.
        uri: replaces MLFLOW_TRACKING_URI and the default.

    Returns:
        The number of copied records; None if MLflow failed.
    """
    folder = Path(store_folder)
    uri = tracking_uri(folder, uri)
    note = read_note(folder, uri)
    if not _select_changed(note, records) and note["table"] == _table_digest(records):
        return 0
    file = sqlite_path(uri)
    if file:
        lock = file.with_name(f"{file.name}.lock")
    else:
        lock = Store(folder).locks_folder / "mlflow.lock"
    try:
        check_writable(uri)
        with hold_lock(lock), _silence_mlflow():
            return _copy(folder, study_name, records, cells, uri)
    except Exception as error:  # no failure of a tracking server may cost a run
        reason = " ".join(str(error).split())[:200]
        print(
            f"prunebench: warning: MLflow at {uri} failed ({type(error).__name__}: {reason}); "
            f"all records are safe in {folder}, copy them later with: prunebench sync {folder}",
            file=sys.stderr,
        )
        return None


def _select_changed(note: Mapping[str, Any], records: Sequence[Record]) -> list[Record]:
    """Return the records that were not copied with their present content."""
    return [
        record
        for record in records
        if note["records"].get(record.key, {}).get("content") != _record_digest(record)
    ]


def _record_digest(record: Record) -> str:
    """Return a digest that changes when a record is written again with other content."""
    return digest(record.to_json())


def _table_digest(records: Sequence[Record]) -> str:
    """Return a digest that changes when the table changes."""
    return digest([_record_digest(record) for record in records])


@contextmanager
def _silence_mlflow() -> Iterator[None]:
    """Keep MLflow from telemetry, long retries and progress messages.

    At the end the environment and the loggers are as they were.
    """
    added = {name: value for name, value in QUIET_SETTINGS.items() if name not in os.environ}
    os.environ.update(added)
    loggers = [
        logging.getLogger(name)
        for name in ("mlflow", "mlflow.store.db.utils", "alembic", "alembic.runtime.migration")
    ]
    levels = [logger.level for logger in loggers]
    try:
        import mlflow  # noqa: F401  importing it sets the levels of its loggers

        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name in added:
            del os.environ[name]


def _copy(
    folder: Path, study: str, records: Sequence[Record], cells: Sequence[Cell], uri: str
) -> int:
    """Copy records, then the table, the figures and the page of the parent run.

    The note is written after each record, so that an interruption costs one. Every run has its key
    from the start, so that it is found again. Returns the number of copied records.
    """
    from mlflow import MlflowClient

    note = read_note(folder, uri)  # under the lock, because another process may have copied
    _create_database(uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = _find_experiment(client, uri)
    parent = _find_parent(client, experiment, study, folder, note["parent"])
    children = _find_children(client, experiment, parent)
    note["parent"] = parent
    changed = {record.key for record in _select_changed(note, records)}
    to_copy = [record for record in records if record.key in changed or record.key not in children]
    for record in to_copy:
        tags = {TAG_PARENT: parent, TAG_KEY: record.key}
        run = children.get(record.key) or client.create_run(experiment, tags=tags).info.run_id
        _log_record(client, run, record, folder / "models" / record.key)
        note["records"][record.key] = {"run": run, "content": _record_digest(record)}
        write_note(folder, uri, note)
    _log_parent(client, parent, folder, records, cells)
    write_note(folder, uri, note | {"table": _table_digest(records)})
    return len(to_copy)


def _create_database(uri: str) -> None:
    """Create a sqlite file with all its tables, or nothing.

    A database whose creation was interrupted can never be used again.
    """
    from mlflow import MlflowClient

    file = sqlite_path(uri)
    if file is not None and not file.exists():
        with TemporaryDirectory() as folder:
            draft = Path(folder) / file.name
            MlflowClient(tracking_uri=f"{SQLITE}{draft.as_posix()}").search_experiments()
            atomic.write(file, draft.read_bytes())


def _find_experiment(client: "MlflowClient", uri: str) -> str:
    """Return the id of the experiment; create it if there is none.

    The artifacts of a sqlite file lie beside the file; elsewhere the server decides.
    """
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return str(experiment.experiment_id)
    file = sqlite_path(uri)
    artifacts = (file.resolve().parent / "mlflow_artifacts").as_uri() if file else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))


def _search(client: "MlflowClient", experiment: str, condition: str) -> list[Any]:
    """Return all runs of the experiment that meet a condition, from all pages."""
    page = client.search_runs([experiment], condition, max_results=1000)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], condition, max_results=1000, page_token=page.token)
        runs.extend(page)
    return runs


def _find_parent(
    client: "MlflowClient", experiment: str, study: str, folder: Path, noted_id: str | None
) -> str:
    """Return the run id of the study.

    It is the run in the note, else one with this name and folder, else a new one.
    """
    path = str(folder.resolve())
    runs = [
        run
        for run in _search(client, experiment, f"tags.`{TAG_FOLDER}` != ''")
        if run.data.tags.get(TAG_STUDY) == study
    ]
    matches = [run for run in runs if run.info.run_id == noted_id] or [
        run for run in runs if run.data.tags[TAG_FOLDER] == path
    ]
    if matches:
        return str(matches[0].info.run_id)
    tags = {TAG_NAME: study, TAG_STUDY: study, TAG_FOLDER: path}
    return str(client.create_run(experiment, tags=tags).info.run_id)


def _find_children(client: "MlflowClient", experiment: str, parent: str) -> dict[str, str]:
    """Return key -> run id of the nested runs of a parent run."""
    runs = _search(client, experiment, f"tags.`{TAG_PARENT}` = '{parent}'")
    return {run.data.tags[TAG_KEY]: run.info.run_id for run in runs if TAG_KEY in run.data.tags}


def _log_record(client: "MlflowClient", run: str, record: Record, model: Path) -> None:
    """Log a record as one run: parameters, metrics, tags, widths, the whole record, the network."""
    from mlflow.entities import Metric, Param, RunTag

    now_ms = int(time.time() * 1000)
    cell = record.cell
    tags = {
        TAG_NAME: f"{cell.label} {cell.ratio:g} seed {cell.seed}",
        TAG_KEY: record.key,
        TAG_STATUS: record.status,
        "prunebench.reason": record.reason,
        "prunebench.phase": record.phase,
    }
    tags |= {
        f"prunebench.{name}": getattr(cell, name) for name in NOT_IN_KEY if getattr(cell, name)
    }
    client.log_batch(
        run,
        params=[Param(name, value) for name, value in cell_params(cell).items()],
        metrics=[Metric(name, value, now_ms, 0) for name, value in record_metrics(record).items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    client.log_dict(run, dict(record.widths), "widths.json")
    client.log_dict(run, record.to_json(), "record.json")
    if model.is_dir():
        client.log_artifacts(run, str(model), "model")
    client.set_terminated(run, "FINISHED" if record.status != "failed" else "FAILED")


def _log_parent(
    client: "MlflowClient",
    parent: str,
    folder: Path,
    records: Sequence[Record],
    cells: Sequence[Cell],
) -> None:
    """Log the table as texts and in the format of MLflow, the figures and the page."""
    from bench.report.page import write_page
    from bench.report.results import collect_results, read_results
    from bench.report.table import render_table
    from bench.report.write_report import PAGE, select_figures

    results = collect_results(records, cells)
    for fmt in FORMATS:
        client.log_text(parent, render_table(results, fmt) + "\n", f"table.{fmt}")
    _log_table(client, parent, results.rows)
    store = Store(folder)
    stored = read_results(store)
    with TemporaryDirectory() as scratch:
        for name, draw in select_figures(store, stored).items():
            client.log_artifact(parent, str(draw(Path(scratch) / f"{name}.png")), "figures")
        client.log_artifact(parent, str(write_page(store, stored, Path(scratch) / PAGE)))
    client.set_terminated(parent)


def _log_table(client: "MlflowClient", parent: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Log rows for `mlflow.load_table`, in its format.

    The client's own `log_table` would append to a table that an earlier, interrupted call left.
    """
    content = [
        [json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()]
        for row in rows
    ]
    client.log_dict(parent, {"columns": list(rows[0]), "data": content}, TABLE)
    client.set_tag(parent, TAG_LOGGED_ARTIFACTS, json.dumps([{"path": TABLE, "type": "table"}]))


def cell_params(cell: Cell) -> dict[str, str]:
    """Return a cell as flat text: "recipe.batch" -> "8". Long values end in dots.

    Params cannot change once written. Fields that may change without a new question (label, path of
    the data) are tags instead.
    """
    flat = {name: _to_text(value) for name, value in _flatten(cell.to_json(NOT_IN_KEY), "")}
    return {
        name: value if len(value) <= MAX_PARAM_LENGTH else value[: MAX_PARAM_LENGTH - 4] + " ..."
        for name, value in flat.items()
    }


def _flatten(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def record_metrics(record: Record) -> dict[str, float]:
    """Return the numbers of a record that exist; costs per phase and in total."""
    names = (
        "budget_bytes",
        "peak_bytes",
        "peak_bytes_eager",
        "parameters",
        "parameters_stored",
        "macs",
        "calibration_loss",
        "units_at_floor",
    )
    metrics: dict[str, Any] = {name: getattr(record, name) for name in names}
    metrics |= {
        name.replace("_bytes", "_mib"): mib(metrics[name])
        for name in names
        if "_bytes" in name and metrics[name] is not None
    }
    for executor, measurement in record.measured.items():
        metrics[f"measured_mib.{executor}"] = mib(measurement["peak_bytes"])
        metrics[f"image_seconds.{executor}"] = measurement.get("image_seconds")
    metrics |= dict(record.means)
    metrics |= {f"input_{name}": value for name, value in record.input_means.items()}
    metrics["forward_passes"] = record.forward_passes
    for name in ("steps", "samples", "seconds"):
        costs: Mapping[str, float] = getattr(record, name)
        metrics[name] = sum(costs.values())
        metrics |= {f"{name}.{phase}": value for phase, value in costs.items()}
    return {name: float(value) for name, value in metrics.items() if value is not None}

"""Records to MLflow: the only door to mlflow.

The records on disk are the truth, MLflow is a copy that `prunebench sync DIR` can make at any time.
One run per study, inside it one run per record, written by one process at a time (parallel first
writers race in MLflow's migrations). What has been copied is noted in the run folder, one small
file per tracking URI, so that a repeated command neither copies twice nor imports mlflow (two
seconds) for nothing; where the note is missing, MLflow itself is asked which keys it has.

Where: the argument, else MLFLOW_TRACKING_URI, else a sqlite file: for a run folder X/runs/STUDY it
is X/mlflow.db, shared by all studies of X; for any other folder it lies in the folder. Artifacts of
a sqlite file lie beside it in mlflow_artifacts.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import atomic
from bench.files.hashing import digest
from bench.files.lock import locked
from bench.records import NOT_IN_KEY, Cell, Record
from bench.report.mlflow_state import SQLITE, check_writable, read_note, sqlite_file, write_note
from bench.study.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "prunebench"
KEY, STATUS, STUDY, FOLDER = (
    "prunebench.key",
    "prunebench.status",
    "prunebench.study",
    "prunebench.folder",
)
PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"
LONGEST_PARAM = 500
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a benchmark does not report its use to anyone
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is away is a warning within a minute, not after an hour
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
FORMATS = ("md", "csv", "tex")
TABLE = "table.json"
TABLES = "mlflow.loggedArtifacts"


def tracking_uri(folder: Path, uri: str | None = None) -> str:
    """Where the records of a run folder are copied to."""
    home = folder.resolve()
    place = home.parent.parent if home.parent.name == "runs" else home
    return (
        uri
        or os.environ.get("MLFLOW_TRACKING_URI")
        or f"sqlite:///{(place / 'mlflow.db').as_posix()}"
    )


def log_study(
    store_folder: Path | str,
    study_name: str,
    records: Sequence[Record],
    cells: Sequence[Cell] = (),
    uri: str | None = None,
) -> int:
    """Copies what MLflow does not have yet.

    If MLflow fails: one warning on stderr, the records stay as they are.

    Args:
        store_folder: the run folder; models are looked for in its `models/KEY`.
        study_name: names the parent run.
        records: all records of the study; those that are known with the same content are skipped.
        cells: what has been asked, for pending rows of the table.
        uri: where to, instead of MLFLOW_TRACKING_URI and the default.

    Returns:
        How many records were copied; -1 if MLflow failed.
    """
    folder = Path(store_folder)
    where = tracking_uri(folder, uri)
    note = read_note(folder, where)
    if not _news(note, records) and note["table"] == _contents(records):
        return 0
    file = sqlite_file(where)
    try:
        check_writable(where)
        with (
            locked(
                file.with_name(f"{file.name}.lock")
                if file
                else Store(folder).locks_folder / "mlflow.lock"
            ),
            _quiet(),
        ):
            note = read_note(folder, where)  # again: another process may have copied meanwhile
            return _copy(folder, study_name, _news(note, records), records, cells, where, note)
    except Exception as error:  # whatever a tracking server does must not cost a run
        why = " ".join(str(error).split())[:200]
        print(f"prunebench: warning: MLflow at {where} failed ({type(error).__name__}: {why}); all records are safe in {folder}, "
              f"copy them later with: prunebench sync {folder}", file=sys.stderr)  # fmt: skip
        return -1


def _news(note: Mapping[str, Any], records: Sequence[Record]) -> list[Record]:
    """What was not copied as it is now."""
    return [
        record
        for record in records
        if note["records"].get(record.key, {}).get("content") != _content(record)
    ]


def _content(record: Record) -> str:
    """Changes when a record is answered anew."""
    return digest(record.to_json())


def _contents(records: Sequence[Record]) -> str:
    """Changes when the table does."""
    return digest([_content(record) for record in records])


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow without telemetry, endless retries and progress messages; the environment and the loggers are put back."""
    added = {name: value for name, value in QUIET.items() if name not in os.environ}
    os.environ.update(added)
    loggers = [
        logging.getLogger(name)
        for name in ("mlflow", "mlflow.store.db.utils", "alembic", "alembic.runtime.migration")
    ]
    levels = [logger.level for logger in loggers]
    try:
        import mlflow  # noqa: F401  its import sets the levels of its loggers

        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name in added:
            del os.environ[name]


def _copy(
    folder: Path,
    study: str,
    news: Sequence[Record],
    records: Sequence[Record],
    cells: Sequence[Cell],
    where: str,
    note: dict[str, Any],
) -> int:
    """Parent, news and what MLflow lacks, then the parent's table, figures and page; noted after each record, so that an interruption
    costs one. Every run has its key from the start, so that it is found again. Returns how many
    were copied.
    """
    from mlflow import MlflowClient

    _make_database(where)
    client = MlflowClient(tracking_uri=where)
    experiment = _experiment(client, where)
    parent = _parent(client, experiment, study, folder, note["parent"])
    known = _known(client, experiment, parent)
    note["parent"] = parent
    changed = {record.key for record in news}
    wanted = [record for record in records if record.key in changed or record.key not in known]
    for record in wanted:
        run = (
            known.get(record.key)
            or client.create_run(experiment, tags={PARENT: parent, KEY: record.key}).info.run_id
        )
        _log_record(client, run, record, folder / "models" / record.key)
        note["records"][record.key] = {"run": run, "content": _content(record)}
        write_note(folder, where, note)
    _log_parent(client, parent, folder, records, cells)
    write_note(folder, where, note | {"table": _contents(records)})
    return len(wanted)


def _make_database(where: str) -> None:
    """A new sqlite file appears with all its tables or not at all: one whose making was interrupted can never be used again."""
    from tempfile import TemporaryDirectory

    from mlflow import MlflowClient

    file = sqlite_file(where)
    if file is not None and not file.exists():
        with TemporaryDirectory() as place:
            made = Path(place) / file.name
            MlflowClient(tracking_uri=f"{SQLITE}{made.as_posix()}").search_experiments()
            atomic.write(file, made.read_bytes())


def _experiment(client: "MlflowClient", where: str) -> str:
    """The experiment's id; for a sqlite file its artifacts lie beside the file, elsewhere the server decides."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    file = sqlite_file(where)
    beside = (file.resolve().parent / "mlflow_artifacts").as_uri() if file else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=beside))


def _search(client: "MlflowClient", experiment: str, condition: str) -> list[Any]:
    """All runs of the experiment that meet it, page by page."""
    page = client.search_runs([experiment], condition, max_results=1000)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], condition, max_results=1000, page_token=page.token)
        runs.extend(page)
    return runs


def _parent(
    client: "MlflowClient", experiment: str, study: str, folder: Path, noted: str | None
) -> str:
    """The study's run: the one in the note, else one with this name and folder, else a new one."""
    place = str(folder.resolve())
    runs = [
        run
        for run in _search(client, experiment, f"tags.`{FOLDER}` != ''")
        if run.data.tags.get(STUDY) == study
    ]
    same = [run for run in runs if run.info.run_id == noted] or [
        run for run in runs if run.data.tags[FOLDER] == place
    ]
    if same:
        return str(same[0].info.run_id)
    return str(
        client.create_run(experiment, tags={NAME: study, STUDY: study, FOLDER: place}).info.run_id
    )


def _known(client: "MlflowClient", experiment: str, parent: str) -> dict[str, str]:
    """Key -> run id of what the parent has."""
    runs = _search(client, experiment, f"tags.`{PARENT}` = '{parent}'")
    return {run.data.tags[KEY]: run.info.run_id for run in runs if KEY in run.data.tags}


def _log_record(client: "MlflowClient", run: str, record: Record, model: Path) -> None:
    """One record as one run: parameters, metrics, tags, widths, the whole record, the model."""
    import time

    from mlflow.entities import Metric, Param, RunTag

    now_ms = int(time.time() * 1000)
    cell = record.cell
    tags = {
        NAME: f"{cell.label} {cell.ratio:g} seed {cell.seed}",
        KEY: record.key,
        STATUS: record.status,
        "prunebench.reason": record.reason,
        "prunebench.phase": record.phase,
    }
    tags |= {
        f"prunebench.{name}": getattr(cell, name) for name in NOT_IN_KEY if getattr(cell, name)
    }
    client.log_batch(
        run,
        params=[Param(name, value) for name, value in params(cell).items()],
        metrics=[Metric(name, value, now_ms, 0) for name, value in metrics(record).items()],
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
    """The table as texts and as MLflow's own, the figures, the page."""
    from tempfile import TemporaryDirectory

    from bench.report.files import PAGE, figures
    from bench.report.frame import rows
    from bench.report.page import write_page
    from bench.report.table import render

    for fmt in FORMATS:
        client.log_text(parent, render(records, fmt, cells) + "\n", f"table.{fmt}")
    _log_table(client, parent, rows(records, cells))
    with TemporaryDirectory() as place:
        store = Store(folder)
        for name, draw in figures(store, store.records()).items():
            client.log_artifact(parent, str(draw(Path(place) / f"{name}.png")), "figures")
        client.log_artifact(parent, str(write_page(store, Path(place) / PAGE)))
    client.set_terminated(parent)


def _log_table(client: "MlflowClient", parent: str, merged: Sequence[Mapping[str, Any]]) -> None:
    """For `mlflow.load_table`, in its form; the client's own `log_table` appends to what is there, which an interruption leaves half."""
    columns = {
        name: [
            json.dumps(row[name]) if isinstance(row[name], dict | list) else row[name]
            for row in merged
        ]
        for name in merged[0]
    }
    client.log_dict(
        parent,
        {"columns": list(columns), "data": list(map(list, zip(*columns.values(), strict=True)))},
        TABLE,
    )
    client.set_tag(parent, TABLES, json.dumps([{"path": TABLE, "type": "table"}]))


def params(cell: Cell) -> dict[str, str]:
    """A cell as flat text: "recipe.batch" -> "8". Long values end in dots.

    Params cannot change once written, so what may change without a new question (label, place of
    the data) is a tag instead.
    """
    flat = {name: _text(value) for name, value in _flat(cell.content(NOT_IN_KEY), "")}
    return {
        name: value if len(value) <= LONGEST_PARAM else value[: LONGEST_PARAM - 4] + " ..."
        for name, value in flat.items()
    }


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def metrics(record: Record) -> dict[str, float]:
    """The numbers of a record that exist, spent steps, samples and seconds per phase and in total."""
    from bench.units import mib

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
    found: dict[str, Any] = {name: getattr(record, name) for name in names}
    found |= {
        name.replace("_bytes", "_mib"): mib(found[name])
        for name in names
        if "_bytes" in name and found[name] is not None
    }
    for executor, figures in record.measured.items():
        found |= {
            f"measured_mib.{executor}": mib(figures["peak_bytes"]),
            f"image_seconds.{executor}": figures.get("image_seconds"),
        }
    found |= dict(record.means) | {
        f"input_{name}": value for name, value in record.input_means.items()
    }
    found |= {"forward_passes": record.forward_passes}
    for name in ("steps", "samples", "seconds"):
        spent: Mapping[str, float] = getattr(record, name)
        found |= {name: sum(spent.values())} | {
            f"{name}.{phase}": value for phase, value in spent.items()
        }
    return {name: float(value) for name, value in found.items() if value is not None}

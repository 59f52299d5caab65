"""Copies of records in MLflow, made while a study runs and by `prunebench sync RUN`.

The records on disk are the originals; MLflow holds a copy that can be made at any time. A study is
one run, with one nested run per record (`bench.report.mlflow_runs`), written by one process at a
time (parallel first writers race in MLflow's migrations). A note in the run folder, one small file
per tracking URI, lists the copied records, so that a repeated command neither copies twice nor
imports mlflow in vain, which takes two seconds. If the note is missing, MLflow itself is asked
which keys it has.

The tracking URI is the argument, else MLFLOW_TRACKING_URI, else a sqlite file: for a run folder
X/runs/STUDY it is X/mlflow.db, shared by all studies of X; for any other folder it lies in the
folder. Artifacts of a sqlite file lie beside it in mlflow_artifacts.
"""

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import one_line
from bench.files import atomic
from bench.files.hashing import digest
from bench.files.lock import Lock, hold_lock
from bench.records import Cell, Record
from bench.report.mlflow_runs import StudyRuns
from bench.report.mlflow_state import (
    check_writable,
    read_note,
    remove_quoted_folder,
    sqlite_path,
    sqlite_uri,
    write_note,
)
from bench.runner.progress import Progress
from bench.study.store import Store

Result = TypeVar("Result")
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a benchmark does not report its use to anyone
    # Of a server it would print two lines for each run, into the lines of the progress.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that does not answer is a warning within a minute, not after an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}


def tracking_uri(folder: Path, uri: str | None = None) -> str:
    """Return the tracking URI that the records of a run folder are copied to."""
    run_folder = folder.resolve()
    base_folder = run_folder.parent.parent if run_folder.parent.name == "runs" else run_folder
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(base_folder / "mlflow.db")


class MlflowCopy(Progress):
    """Copies each record of a run as soon as it is written.

    The first failure is a warning and ends the copying. Records that are left out, also because
    another run is writing to MLflow at this moment, are copied by `log_study` at the end.

    Args:
        store: of the study.
        uri: replaces MLFLOW_TRACKING_URI and the default.
    """

    def __init__(self, store: Store, uri: str | None = None) -> None:
        self._store = store
        self._uri = tracking_uri(store.folder, uri)
        self._runs: StudyRuns | None = None
        self._has_failed = False

    def on_record(self, record: Record) -> None:
        """Copy a record that was written."""
        if not self._has_failed:
            folder = self._store.folder
            self._has_failed = _try(folder, self._uri, lambda: self._copy(record)) is None

    def _copy(self, record: Record) -> int:
        lock = Lock(_lock_path(self._store.folder, self._uri))
        if not lock.acquire():
            return 0
        try:
            note = read_note(self._store.folder, self._uri)
            changed = _select_changed(note, [record])
            if changed:
                with _silence_mlflow():
                    self._runs = self._runs or StudyRuns(self._store, self._uri, note["parent"])
                    _copy_records(self._runs, changed, self._store, note)
            return len(changed)
        finally:
            lock.release()


def log_study(
    store_folder: Path | str,
    study_name: str,
    records: Sequence[Record],
    cells: Sequence[Cell] = (),
    uri: str | None = None,
) -> int | None:
    """Copy the records that MLflow does not have yet, then the table, the figures and the page.

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
    store = Store(folder)
    uri = tracking_uri(folder, uri)
    note = read_note(folder, uri)
    if not _select_changed(note, records) and note["table"] == _table_digest(records):
        return 0

    def copy() -> int:
        with hold_lock(_lock_path(folder, uri)), _silence_mlflow():
            return _copy_study(store, study_name, records, cells, uri)

    return _try(folder, uri, copy)


def _copy_study(
    store: Store, name: str, records: Sequence[Record], cells: Sequence[Cell], uri: str
) -> int:
    """Copy what MLflow does not have; return the number of records."""
    atomic.clear_drafts(store.folder)
    note = read_note(store.folder, uri)  # under the lock, because another process may have copied
    runs = StudyRuns(store, uri, note["parent"], name)
    changed = {record.key for record in _select_changed(note, records)}
    to_copy = [
        record for record in records if record.key in changed or record.key not in runs.children
    ]
    _copy_records(runs, to_copy, store, note)
    runs.log_study(records, cells)
    write_note(store.folder, uri, note | {"table": _table_digest(records)})
    return len(to_copy)


def register_network(
    store: Store, record: Record, name: str, uri: str | None = None
) -> tuple[int, bool] | None:
    """Register the network of a copied record as a model.

    Args:
        store: of the study.
        record: whose network it is.
        name: of the registered model.
        uri: replaces MLFLOW_TRACKING_URI and the default.

    Returns:
        The version of the model, and whether it is new: a network is registered once under a name.
        None if MLflow failed, after a warning on stderr.
    """
    uri = tracking_uri(store.folder, uri)

    def copy() -> tuple[int, bool]:
        with _silence_mlflow():
            runs = StudyRuns(store, uri, read_note(store.folder, uri)["parent"])
            return runs.register(record, name)

    return _try(store.folder, uri, copy)


def _try(folder: Path, uri: str, work: Callable[[], Result]) -> Result | None:
    """Return what `work` returns; None after a warning on stderr if it fails."""
    try:
        check_writable(uri)
        with _temporary_files_in(folder):
            return work()
    except Exception as error:  # no failure of a tracking server may cost a run
        reason = one_line(str(error))[:300]
        print(
            f"prunebench: warning: MLflow at {uri} failed ({type(error).__name__}: {reason}); "
            f"all records are safe in {folder}, copy them later with: prunebench sync {folder}",
            file=sys.stderr,
        )
        return None
    finally:
        remove_quoted_folder(uri)


_TURN = threading.RLock()


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Keep temporary files, also MLflow's, in a run folder: a later run clears it after a kill.

    Their place is that of the whole process, so its threads take turns.
    """
    with _TURN, atomic.scratch_folder(folder.resolve()) as scratch:
        before = tempfile.tempdir
        tempfile.tempdir = str(scratch)
        try:
            yield
        finally:
            tempfile.tempdir = before


def _copy_records(
    runs: StudyRuns, records: Sequence[Record], store: Store, note: dict[str, Any]
) -> None:
    """Copy records; the note is written after each, so that an interruption costs one."""
    note["parent"] = runs.parent
    for record in records:
        run = runs.log_record(record)
        note["records"][record.key] = {"run": run, "content": _record_digest(record)}
        write_note(store.folder, note["uri"], note)


def _lock_path(folder: Path, uri: str) -> Path:
    """Return the file that is locked while a process writes to MLflow."""
    file = sqlite_path(uri)
    return (
        file.with_name(f"{file.name}.lock") if file else Store(folder).locks_folder / "mlflow.lock"
    )


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
    added = {name: value for name, value in SETTINGS.items() if name not in os.environ}
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

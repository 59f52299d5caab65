"""Notes of the records that were copied to MLflow: one file per tracking URI in the run folder.

A note only saves time: without it, MLflow itself is asked.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import DiskError
from bench.files import atomic, checked_json
from bench.files.hashing import digest
from bench.files.schema import check
from bench.records import SCHEMA

SQLITE = "sqlite:///"


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a sqlite URI; None for a server."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def check_writable(uri: str) -> None:
    """Raise DiskError for a sqlite file that cannot be written.

    MLflow itself would try for minutes.
    """
    file = sqlite_path(uri)
    if file is not None:
        existing = next(path for path in (file, *file.resolve().parents) if path.exists())
        if not os.access(existing, os.W_OK):
            raise DiskError(f"{existing} cannot be written")


def read_note(folder: Path, uri: str) -> dict[str, Any]:
    """Return what was copied to a URI: parent run id, table digest, run id and digest of each key.

    The note is empty if there is none, if it is damaged, or if its sqlite file does not exist any
    more.
    """
    empty: dict[str, Any] = {
        "schema": SCHEMA,
        "uri": uri,
        "parent": None,
        "table": None,
        "records": {},
    }
    path = _note_path(folder, uri)
    file = sqlite_path(uri)
    if not path.is_file() or (file is not None and not file.is_file()):
        return empty
    try:
        note = empty | checked_json.read(path, SCHEMA)
        check(note["records"], Mapping[str, Mapping[str, Any]], "records")
        return note
    except ValueError as error:
        atomic.set_aside(path, str(error), "written anew from what MLflow has")
        return empty


def write_note(folder: Path, uri: str, note: Mapping[str, Any]) -> None:
    """Write the note of a URI. Raises DiskError."""
    checked_json.write(_note_path(folder, uri), note)


def _note_path(folder: Path, uri: str) -> Path:
    return folder / f"mlflow-{digest(uri)[:12]}.json"

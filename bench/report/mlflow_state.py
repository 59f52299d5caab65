"""What of a run folder has been copied to which MLflow: one small file per tracking URI.

It is a note, MLflow itself knows better.
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


def sqlite_file(where: str) -> Path | None:
    """The file of a sqlite URI; None for a server."""
    return Path(where.removeprefix(SQLITE).partition("?")[0]) if where.startswith(SQLITE) else None


def check_writable(where: str) -> None:
    """Raises DiskError for a sqlite file that cannot be written, which MLflow itself would try for minutes."""
    file = sqlite_file(where)
    if file is not None:
        found = next(place for place in (file, *file.resolve().parents) if place.exists())
        if not os.access(found, os.W_OK):
            raise DiskError(f"{found} cannot be written")


def read_note(folder: Path, where: str) -> dict[str, Any]:
    """What was copied to this URI: the parent's run id, the table's content, run id and content of each key.

    Where there is no note, or it is damaged, or its sqlite file is gone, nothing is known: MLflow
    itself is asked.
    """
    empty: dict[str, Any] = {
        "schema": SCHEMA,
        "uri": where,
        "parent": None,
        "table": None,
        "records": {},
    }
    path, file = _note_path(folder, where), sqlite_file(where)
    if not path.is_file() or (file is not None and not file.is_file()):
        return empty
    try:
        note = empty | checked_json.read(path, SCHEMA)
        check(note["records"], Mapping[str, Mapping[str, Any]], "records")
        return note
    except ValueError as error:
        atomic.set_aside(path, str(error), "written anew from what MLflow has")
        return empty


def write_note(folder: Path, where: str, note: Mapping[str, Any]) -> None:
    """Keeps it. Raises DiskError."""
    checked_json.write(_note_path(folder, where), note)


def _note_path(folder: Path, where: str) -> Path:
    return folder / f"mlflow-{digest(where)[:12]}.json"

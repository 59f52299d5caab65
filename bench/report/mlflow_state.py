"""Notes of the records that were copied to MLflow: one file per tracking URI in the run folder.

A note only saves time: without it, MLflow itself is asked.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from bench.errors import DiskError
from bench.files import atomic, checked_json
from bench.files.hashing import digest
from bench.files.schema import check
from bench.records import SCHEMA

SQLITE = "sqlite:///"


def sqlite_uri(file: Path) -> str:
    """Return the URI of a sqlite file; of its path, % and ? are quoted, as SQLAlchemy asks."""
    return SQLITE + file.as_posix().replace("%", "%25").replace("?", "%3F")


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a sqlite URI; None for a server."""
    if not uri.startswith(SQLITE):
        return None
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


def remove_quoted_folder(uri: str) -> None:
    """Remove the empty folder that MLflow makes where the path in a sqlite URI is quoted."""
    file = sqlite_path(uri)
    quoted = Path(uri.removeprefix(SQLITE).partition("?")[0])
    if file is not None and quoted.parent != file.parent:
        with suppress(OSError):  # there is none
            os.removedirs(quoted.parent)


def check_intact(file: Path) -> None:
    """Raise DiskError for a sqlite file that is damaged; MLflow itself would try for minutes."""
    address = f"file:{quote(file.resolve().as_posix())}?mode=ro"
    try:
        with closing(sqlite3.connect(address, timeout=1, uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # locked by another process, so in use
        return
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DiskError(
            f"{file} is damaged ({found}): move it away, and it is made anew from the records of "
            "each run that you sync"
        )


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
    more. If another file has taken the place of that, only the parent is kept, which may be there.
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
        return note if note.get("file") == _file_id(uri) else empty | {"parent": note["parent"]}
    except ValueError as error:
        atomic.set_aside(path, str(error), "written anew from what MLflow has")
        return empty


def write_note(folder: Path, uri: str, note: Mapping[str, Any]) -> None:
    """Write the note of a URI. Raises DiskError."""
    checked_json.write(_note_path(folder, uri), {**note, "file": _file_id(uri)})


def _file_id(uri: str) -> int | None:
    """Return a number that differs for another file of the same name; None for a server."""
    file = sqlite_path(uri)
    return file.stat().st_ino if file is not None and file.is_file() else None


def _note_path(folder: Path, uri: str) -> Path:
    return folder / f"mlflow-{digest(uri)[:12]}.json"

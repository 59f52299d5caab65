"""The store: the results of a study in one folder. Records are the source of everything else.

    DIR/study.json               the cells of the study, in the order of its table, and the last
                                 command that ran it
    DIR/records/KEY.json         one record
    DIR/models/KEY/              its network (bench.export.saved)
    DIR/patches/                 sample photographs, crops (bench.training.sample_crops)
    DIR/pretrained/              unpruned networks (bench.training.pretrained)
    DIR/work/KEY/                checkpoints from which a killed job resumes, until it is done;
                                 KEY is that of the job, for all budgets
    DIR/locks/KEY.lock           empty; locked while a worker has the job (bench.runner.queue)

Files are written whole or not at all. Each file has a checksum, inside or in a file beside it, that
is verified whenever it is read. A run resumes by looking up keys: a cell with a whole record is
done. A damaged file is set aside and its cell is computed again. A file of a newer program is an
error and stays as it is. Records of an older one have other keys, so their cells are computed
again. Nothing is created before there is something to write.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import atomic, checked_json
from bench.files.hashing import digest
from bench.files.log import LOG
from bench.records import SCHEMA, Cell, Record

if TYPE_CHECKING:
    from bench.training.checkpoints import Checkpoints

READ_ERRORS = (ValueError, KeyError, TypeError, AttributeError)


class Store:
    """The results of one study in one folder.

    Args:
        folder: created by the first write.
        checkpoint_seconds: time between two checkpoints of a training; None for the default.
    """

    def __init__(self, folder: str | Path, checkpoint_seconds: float | None = None) -> None:
        self.folder = Path(folder)
        self._checkpoint_seconds = checkpoint_seconds
        self._has_warned = False  # of records of an older schema
        self._study: tuple[tuple[int, int], dict[str, Any]] | None = None  # version, content

    @property
    def pretrained_folder(self) -> Path:
        """The folder of unpruned networks."""
        return self.folder / "pretrained"

    def model_folder(self, key: str) -> Path:
        """Return the folder of a record's network; not every record has one."""
        return self.folder / "models" / key

    def crop_folders(self, cell: Cell) -> tuple[Path, Path]:
        """Return the folders of a cell's restored crops, and of the crops that records share.

        All records of one task and data share the degraded and the clean crops.
        """
        shared = digest([cell.task, cell.task_options, cell.data_fingerprint])
        return self.folder / "patches" / cell.key, self.folder / "patches" / shared

    @property
    def checkpoint_seconds(self) -> float:
        """The time between two checkpoints of a training."""
        from bench.training.checkpoints import CHECKPOINT_SECONDS  # loads torch

        return self._checkpoint_seconds or CHECKPOINT_SECONDS

    def checkpoints(self, cell: Cell) -> "Checkpoints":
        """Return the checkpoints of a cell's job, the same for all budgets."""
        from bench.training.checkpoints import Checkpoints

        folder = self.folder / "work" / replace(cell, ratio=1.0).key
        return Checkpoints(folder, self.checkpoint_seconds)

    @property
    def locks_folder(self) -> Path:
        """The folder of the locks by which processes share the jobs (bench.runner.queue)."""
        return self.folder / "locks"

    def version(self, key: str) -> tuple[int, int] | None:
        """Return a value that changes whenever the record of a key is written; None if missing."""
        return _find_version(self._record_path(key))

    def write(self, record: Record) -> None:
        """Write a record; it replaces an older one with the same key."""
        checked_json.write(self._record_path(record.key), record.to_json())

    def read(self, key: str) -> Record | None:
        """Return the record of a key; None if it is missing, damaged or of an older schema.

        Raises:
            ConfigError: it was written by a newer program.
        """
        path = self._record_path(key)
        if not atomic.exists(path):
            return None
        try:
            content = checked_json.read(path, SCHEMA)
            if self._is_outdated(path, content):
                return None
            record = Record.from_json(content)
            if record.key != key:
                raise ValueError("it is the record of another cell than its name says")
        except READ_ERRORS as error:
            atomic.set_aside(path, str(error).splitlines()[0] if str(error) else repr(error))
            return None
        return record

    def records(self) -> list[Record]:
        """Return all whole records, in the order of the study and with its labels.

        Without a study, they are sorted by label, ratio and seed.
        """
        cells = self.cells()
        if cells:
            pairs = ((cell, self.read(cell.key)) for cell in cells)
            return [replace(record, cell=cell) for cell, record in pairs if record is not None]
        return self._read_all(self._stored_keys())

    def networks(self) -> list[tuple[Record, Path]]:
        """Return the records whose network is stored, each with the folder of its network."""
        pairs = [(record, self.model_folder(record.key)) for record in self.records()]
        return [(record, folder) for record, folder in pairs if folder.is_dir()]

    def other_records(self) -> list[Record]:
        """Return the whole records of cells that the study does not have, sorted as by `records`.

        A study that was run with other rows, ratios or seeds leaves them. [] without a study.
        """
        asked = {cell.key for cell in self.cells()}
        quiet = Store(self.folder)
        quiet._has_warned = True  # they may be old
        return quiet._read_all(self._stored_keys() - asked) if asked else []

    def _stored_keys(self) -> set[str]:
        return {path.stem for path in (self.folder / "records").glob("*.json")}

    def _read_all(self, keys: Iterable[str]) -> list[Record]:
        """Return the whole records of some keys, sorted by label, ratio and seed."""
        records = [record for record in map(self.read, sorted(keys)) if record is not None]
        return sorted(
            records, key=lambda record: (record.cell.label, record.cell.ratio, record.cell.seed)
        )

    def write_study(self, name: str, cells: Iterable[Cell], command: str = "") -> None:
        """Write which cells the table has; a file with the same content is not written again.

        Drafts that killed runs left behind are removed.

        Raises:
            ConfigError: the present study was written by a newer program.
        """
        atomic.clear_drafts(self.folder)
        self._read_study()  # raises ConfigError
        raw = checked_json.serialize(
            {
                "schema": SCHEMA,
                "name": name,
                "command": command,
                "cells": [cell.to_json() for cell in cells],
            }
        )
        if not atomic.exists(self._study_path) or atomic.read(self._study_path) != raw:
            atomic.write(self._study_path, raw)

    def cells(self) -> list[Cell]:
        """Return the cells of the study, in the order of its table; [] if none was written."""
        return list(self._read_study().get("cells", []))

    def name(self) -> str:
        """Return the name of the study; that of the folder if no study was written."""
        return str(self._read_study().get("name", self.folder.resolve().name))

    def command(self) -> str:
        """Return the last command that ran the study; "" if it was not run by a command."""
        return str(self._read_study().get("command", ""))

    @property
    def _study_path(self) -> Path:
        return self.folder / "study.json"

    def _record_path(self, key: str) -> Path:
        return self.folder / "records" / f"{key}.json"

    def _read_study(self) -> dict[str, Any]:
        """Return the content of study.json, {} if there is none; set a damaged one aside.

        The file is parsed again when it has changed.
        """
        version = _find_version(self._study_path)
        if version is None:
            return {}
        if self._study and self._study[0] == version:
            return self._study[1]
        try:
            content = checked_json.read(self._study_path, SCHEMA)
            content["cells"] = [Cell.from_json(cell) for cell in content["cells"]]
        except READ_ERRORS as error:
            atomic.set_aside(self._study_path, str(error), "written anew by the next run")
            return {}
        self._is_outdated(self._study_path, content)  # for its warning
        self._study = version, content
        return content

    def _is_outdated(self, path: Path, content: Mapping[str, Any]) -> bool:
        """Return whether a file is of an older schema; warn of the first one."""
        written_in = content.get("schema", 0)
        if written_in == SCHEMA:
            return False
        if not self._has_warned:
            self._has_warned = True
            LOG.warning(
                "%s is of schema %s, and this program computes results of schema %s: "
                "run the study again",
                path,
                written_in,
                SCHEMA,
            )
        return True


def _find_version(path: Path) -> tuple[int, int] | None:
    """Return a value that changes whenever a file is written; None if it is missing."""
    if not atomic.exists(path):
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns

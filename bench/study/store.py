"""Results on disk. A record is the truth; everything else is made from records.

    DIR/study.json               the cells of the study, in the order of its table, and the command that asked for them last
    DIR/records/KEY.json         one record
    DIR/models/KEY/              its network (bench.export.saved)
    DIR/patches/                 crops to look at (bench.training.sample_crops)
    DIR/pretrained/              unpruned networks (bench.training.pretrained)
    DIR/work/KEY/                what a killed job goes on from (checkpoints.py), until it is done; KEY is of the job, for all budgets
    DIR/locks/KEY.lock           empty; locked while a job is worked on (bench.runner.queue)

Files appear whole or not at all, and each carries or has beside it the checksum of its content,
which is verified whenever it is read. To resume is to find the key there, whole; a damaged file is
set aside and its cell is computed again. A file of a newer program is refused and left alone;
answers of an older one have other keys, so they are computed anew. Nothing is created before there
is something to write.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.files import atomic, checked_json
from bench.files.hashing import digest
from bench.files.log import LOG
from bench.records import SCHEMA, Cell, Record
from bench.training.checkpoints import EVERY_SECONDS, Checkpoints

MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


class Store:
    """The results of one study in one folder.

    Args:
        folder: made when first written to.
        checkpoint_seconds: between two checkpoints of a training; None for the usual.
    """

    def __init__(self, folder: str | Path, checkpoint_seconds: float | None = None) -> None:
        self.folder, self.checkpoint_seconds = Path(folder), checkpoint_seconds or EVERY_SECONDS
        self._told_of_old = False

    @property
    def pretrained_folder(self) -> Path:
        """Where unpruned networks are."""
        return self.folder / "pretrained"

    def model_folder(self, key: str) -> Path:
        """Where the network of a record is; not every record has one."""
        return self.folder / "models" / key

    def patch_folders(self, cell: Cell) -> tuple[Path, Path]:
        """Where the crops that a record restored are, and those that all records of its task and data share."""
        shared = digest([cell.task, cell.task_options, cell.data_fingerprint])
        return self.folder / "patches" / cell.key, self.folder / "patches" / shared

    def checkpoints(self, cell: Cell) -> Checkpoints:
        """Of the job of a cell, whatever the budget."""
        return Checkpoints(
            self.folder / "work" / replace(cell, ratio=1.0).key, self.checkpoint_seconds
        )

    @property
    def locks_folder(self) -> Path:
        """Where those who share this store claim their jobs (bench.runner.queue)."""
        return self.folder / "locks"

    def version(self, key: str) -> tuple[int, int] | None:
        """Which file the record of a key is: another one each time it is written, though it may say the same; None if it is not there."""
        path = self._record_path(key)
        found = path.stat() if atomic.is_there(path) else None
        return None if found is None else (found.st_ino, found.st_mtime_ns)

    def write(self, record: Record) -> None:
        """Keeps a record, in place of an older one with its key."""
        checked_json.write(self._record_path(record.key), record.to_json())

    def read(self, key: str) -> Record | None:
        """The record of a key, if it is there, whole, and of this schema.

        Raises ConfigError for one of a newer program.
        """
        path = self._record_path(key)
        if not atomic.is_there(path):
            return None
        try:
            content = checked_json.read(path, SCHEMA)
            if self._is_old(path, content):
                return None
            record = Record.from_json(content)
            if record.key != key:
                raise ValueError("it answers another cell than its name says")
        except MALFORMED as error:
            atomic.set_aside(path, str(error).splitlines()[0] if str(error) else repr(error))
            return None
        return record

    def records(self) -> list[Record]:
        """All whole records, in the order of the study and under its labels; without a study, by label, ratio and seed."""
        cells = self.cells()
        if cells:
            found = ((cell, self.read(cell.key)) for cell in cells)
            return [replace(record, cell=cell) for cell, record in found if record is not None]
        keys = [path.stem for path in sorted((self.folder / "records").glob("*.json"))]
        loose = [record for record in map(self.read, keys) if record is not None]
        return sorted(
            loose, key=lambda record: (record.cell.label, record.cell.ratio, record.cell.seed)
        )

    def write_study(self, name: str, cells: Iterable[Cell], command: str = "") -> None:
        """Keeps which cells the table has; a file that says the same is left alone.

        What killed runs left behind is removed.
        """
        atomic.clear_drafts(self.folder)
        self._study()  # that of a newer program is not replaced
        raw = checked_json.text(
            {
                "schema": SCHEMA,
                "name": name,
                "command": command,
                "cells": [cell.content() for cell in cells],
            }
        )
        if not atomic.is_there(self._study_path) or atomic.read(self._study_path) != raw:
            atomic.write(self._study_path, raw)

    def cells(self) -> list[Cell]:
        """The cells of the study, in the order of its table; none if no study was written."""
        return [Cell.from_json(cell) for cell in self._study().get("cells", [])]

    def name(self) -> str:
        """The name of the study; that of the folder if none was written."""
        return str(self._study().get("name", self.folder.resolve().name))

    def command(self) -> str:
        """The command that asked for the study last; empty if it was not by the command line."""
        return str(self._study().get("command", ""))

    @property
    def _study_path(self) -> Path:
        return self.folder / "study.json"

    def _record_path(self, key: str) -> Path:
        return self.folder / "records" / f"{key}.json"

    def _study(self) -> dict[str, Any]:
        if not atomic.is_there(self._study_path):
            return {}
        try:
            content = checked_json.read(self._study_path, SCHEMA)
            [Cell.from_json(cell) for cell in content["cells"]]
        except MALFORMED as error:
            atomic.set_aside(self._study_path, str(error), "written anew by the next run")
            return {}
        self._is_old(self._study_path, content)
        return content

    def _is_old(self, path: Path, content: Mapping[str, Any]) -> bool:
        """Whether it is of an older schema, of which its reader is told once."""
        if content.get("schema", 0) == SCHEMA:
            return False
        if not self._told_of_old:
            self._told_of_old = True
            found = content.get("schema", 0)
            LOG.warning(
                "%s is of schema %s, and this program gives answers of schema %s: run the study again",
                path,
                found,
                SCHEMA,
            )
        return True

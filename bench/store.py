"""Results on disk. A record is the truth; everything else is made from records.

    DIR/study.json               the cells of the study, in the order of its table, and the command that asked for them last
    DIR/records/KEY.json         one record, with the checksum of its content
    DIR/models/KEY/              its network (bench.saved)
    DIR/patches/                 crops to look at (bench.patches)
    DIR/pretrained/              unpruned networks (bench.pretrained)
    DIR/work/KEY/                what a method keeps to go on from after a kill; KEY is of its job, which serves all budgets

Files appear whole or not at all. To resume is to find the key there, with a checksum that agrees; a damaged file is set aside and its cell
is computed again. Nothing is created before there is something to write.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import atomic, bounded
from bench.cell import SCHEMA, Cell, Record, digest


class Store:
    """The results of one study in one folder.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

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

    def work_folder(self, cell: Cell) -> Path:
        """What the method of a cell may use while it works, whatever the budget; not made here."""
        return self.folder / "work" / replace(cell, ratio=1.0).key

    def write(self, record: Record) -> None:
        """Keeps a record, in place of an older one with its key."""
        content = record.to_json()
        atomic.write(self._record_path(record.key), json.dumps(content | {"checksum": digest(content)}, indent=1).encode())

    def read(self, key: str) -> Record | None:
        """The record of a key, if it is there and whole."""
        path = self._record_path(key)
        if not path.is_file():
            return None
        try:
            content = _verified(bounded.json_of(path))
            record = Record.from_json(content)
            if record.key != key:
                raise ValueError("it answers another cell than its name says")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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
        return sorted(loose, key=lambda record: (record.cell.label, record.cell.ratio, record.cell.seed))

    def write_study(self, name: str, cells: Iterable[Cell], command: str = "") -> None:
        """Keeps which cells the table has; a file that says the same is left alone."""
        content = {"schema": SCHEMA, "name": name, "command": command, "cells": [cell.content() for cell in cells]}
        raw = json.dumps(content, indent=1).encode()
        if not self._study_path.is_file() or self._study_path.read_bytes() != raw:
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
        if not self._study_path.is_file():
            return {}
        try:
            content = bounded.json_of(self._study_path)
            [Cell.from_json(cell) for cell in content["cells"]]
        except (ValueError, KeyError, TypeError) as error:
            atomic.set_aside(self._study_path, str(error))
            return {}
        return dict(content)


def _verified(content: Any) -> dict[str, Any]:
    """The content without its checksum. Raises ValueError if they disagree."""
    if not isinstance(content, dict) or "checksum" not in content:
        raise ValueError("it has no checksum")
    stated = content.pop("checksum")
    if digest(content) != stated:
        raise ValueError("its checksum does not agree with its content")
    return content

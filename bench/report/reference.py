"""Stored studies to show and to compare with: whole records, or a table alone.

    DIR/study.json, DIR/records/   a run folder (bench.study.store)
    FILE.parquet                   the same in one file (bench.report.records_file)
    DIR/table.json                 the rows of a study whose records were not kept: they can be
                                   shown, but not compared photograph by photograph

`DIR/provenance.md` says how the results were made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.files.checked_json import read_json_limited, read_limited
from bench.records import Record
from bench.report.frame import EQUAL_FIELDS, EQUAL_OPTIONS, competes, group_by
from bench.report.note import parse_note
from bench.report.records_file import read_records
from bench.report.results import RunResults, collect_results, read_results
from bench.report.scores import comparison_key
from bench.study.store import Store

REFERENCE = "reference"
FOLDER = Path("results") / REFERENCE
REPOSITORY = Path(__file__).parents[2]
PARQUET = ".parquet"
NOTE = "provenance.md"
MAX_NOTE_BYTES = 2**16
REQUIRED = {  # of a row; what else it lacks is None
    *(name for name in (*EQUAL_FIELDS, *EQUAL_OPTIONS) if name != "run_options"),
    *("seeds", "seeds_asked", "seed_values", "status", "statuses", "psnr_db"),
}


class NamedStore(Store):
    """A folder whose study is named from outside, because it has no study.json."""

    def __init__(self, folder: Path, name: str, command: str = "") -> None:
        super().__init__(folder)
        self._name, self._command = name, command

    def name(self) -> str:
        """Return the name that it was given."""
        return self._name

    def command(self) -> str:
        """Return the command that it was given."""
        return self._command


class StoredRow(dict[str, Any]):
    """A row of a table that may be older than this program: what it lacks is None."""

    def __missing__(self, key: str) -> None:
        """Return None."""


@dataclass(frozen=True)
class Reference:
    """A stored study.

    Args:
        store: where it is.
        results: its rows, and its records if they were kept.
        note: what its provenance says, Markdown; "" without one.
    """

    store: Store
    results: RunResults
    note: str = field(default="", repr=False)

    @property
    def commands(self) -> str:
        """The commands that make it again, a line each: the first code of its provenance."""
        codes = (block.text for block in parse_note(self.note) if block.kind == "code")
        return next(codes, self.store.command())


def find_reference(what: str, study: str) -> Path:
    """Return the folder or file of the stored results of a study.

    Args:
        what: "reference", a folder of one study or of many, or a .parquet file.
        study: the name of the study.

    Raises:
        ConfigError: there is none.
    """
    folders = [FOLDER, REPOSITORY / FOLDER] if what == REFERENCE else [Path(what)]
    for folder in folders:
        for path in (folder / study, folder):
            if _holds_study(path) or (path.suffix == PARQUET and path.is_file()):
                return path
    raise ConfigError(
        f"there are no results of study '{study}' in {' or '.join(map(str, folders))}; give "
        "--against a run folder of it or a .parquet file of the results page"
    )


def load_records(path: Path) -> list[Record]:
    """Return the records of a stored study, for a comparison photograph by photograph.

    Raises:
        ConfigError: they are damaged, or were not kept.
    """
    records = read_records(path).records if path.suffix == PARQUET else Store(path).records()
    if not records:
        raise ConfigError(
            f"{path} has no records, only a table: it can be shown but not compared with; give "
            "--against a run folder or a .parquet file of records"
        )
    return records


def list_studies(folder: Path) -> list[Path]:
    """Return the folders with results or a provenance below a folder, or itself, by name."""
    if _holds_study(folder):
        return [folder]
    return [
        path for path in sorted(folder.glob("*")) if _holds_study(path) or (path / NOTE).is_file()
    ]


def _holds_study(path: Path) -> bool:
    names = ("study.json", "records", "table.json")
    return any((path / name).exists() for name in names)


def open_reference(path: Path) -> Reference:
    """Read a stored study.

    Raises:
        ConfigError: it is damaged.
    """
    if path.suffix == PARQUET:
        stored = read_records(path)
        store: Store = NamedStore(path.parent, stored.name, stored.command)
        return Reference(store, collect_results(stored.records))
    note = _read_note(path / NOTE)
    if (path / "study.json").is_file() or (path / "records").is_dir():
        return Reference(Store(path), read_results(Store(path)), note)
    rows = read_rows(path / "table.json") if (path / "table.json").is_file() else []
    return Reference(NamedStore(path, path.resolve().name), RunResults([], [], rows), note)


def _read_note(path: Path) -> str:
    return read_limited(path, MAX_NOTE_BYTES).decode(errors="replace") if path.is_file() else ""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table; those of older programs get their ranks, without intervals."""
    try:
        content = read_json_limited(path)
        rows: list[dict[str, Any]] = [StoredRow(row) for row in content]
        lacking = {name for row in rows for name in REQUIRED - row.keys()}
        if lacking:
            raise ValueError(f"a row has no {min(lacking)}")
        for block in group_by(filter(_is_ranked, rows), comparison_key):
            for row in block:
                higher = sum(other["psnr_db"] > row["psnr_db"] for other in block)
                row.setdefault("psnr_rank", 1 + higher)
                row.setdefault("ranked_rows", len(block))
        names = dict.fromkeys(name for row in rows for name in row)
        return [StoredRow({name: row[name] for name in names}) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read as the table of a study: {error!r}") from error


def _is_ranked(row: Mapping[str, Any]) -> bool:
    return competes(row) and row["ratio"] < 1

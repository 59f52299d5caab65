"""How stored results differ from what the packaged study of their name asks today.

Results stand as they were measured; a reader has to know whether the study has changed since:
another network, other data, another recipe, or another source of a method.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.contract import Recipe
from bench.errors import ConfigError
from bench.files.hashing import digest
from bench.records import Cell, Record
from bench.report.frame import Row, cell_fields
from bench.study.packaged import packaged_studies
from bench.study.study import load_study

MAX_NAMES = 6  # in a sentence
PARTS: dict[str, Callable[[Row], Any]] = {
    "network": lambda row: [row["backbone"], row["backbone_options"]],
    "options of the task": lambda row: row["task_options"],
    "data": lambda row: row["data_fingerprint"],
    "recipe": lambda row: vars(Recipe()) | dict(row["recipe"]),
}


class Age(NamedTuple):
    """What has changed since results were measured, a sentence each without full stop.

    Args:
        older: another network, task, data or recipe; "" if they are the same.
        edited: rows whose method has another source; "" for none, or where it is not known.
    """

    older: str = ""
    edited: str = ""

    @property
    def sentences(self) -> list[str]:
        """The sentences that say something."""
        return [sentence for sentence in self if sentence]


def find_age(name: str, rows: Sequence[Row], records: Sequence[Record] = ()) -> Age:
    """Compare stored results with the packaged study of their name; other studies have no age.

    Args:
        name: of the study.
        rows: stored.
        records: stored, with the sources of their methods; tables alone do not have these.
    """
    if not rows or name not in packaged_studies():
        return Age()
    try:
        cells = load_study(name).cells()
    except ConfigError:
        return Age(older="Not compared with the study of today: its data are not on this machine")
    return compare_with_cells(rows, records, cells)


def compare_with_cells(
    rows: Sequence[Row], records: Sequence[Record], cells: Sequence[Cell]
) -> Age:
    """Compare stored results with the cells that are asked for today."""
    today = [cell_fields(cell) for cell in cells]
    # A folder that was given with --data is no part of the study, so it has no age.
    folders = {cell.data for cell in cells}
    compared = dict.fromkeys(PARTS, rows)
    compared["data"] = [row for row in rows if row["data"] in folders]
    changed = [
        part
        for part, read in PARTS.items()
        if not _digests(compared[part], read) <= _digests(today, read)
    ]
    older = f"Older: today the study differs in {_join(changed)}" if changed else ""
    if "network" in changed:
        older += f" (measured: {_name_networks(rows)}; today: {_name_networks(today)})"
    sources = {(cell.label, cell.method): cell.method_source for cell in cells}
    stored = [(record.cell, record.cell.method_source) for record in records]
    edited = dict.fromkeys(
        cell.label
        for cell, source in stored
        if sources.get((cell.label, cell.method), source) != source
    )
    if not edited:
        return Age(older)
    return Age(
        older,
        f"The source code of {len(edited)} rows has changed since ({_join(edited)}): "
        "they would run again",
    )


def _digests(rows: Iterable[Row], read: Callable[[Row], Any]) -> set[str]:
    return {digest(read(row)) for row in rows}


def _name_networks(rows: Iterable[Row]) -> str:
    names = [f"{row['backbone']} {_format_options(row['backbone_options'])}" for row in rows]
    return " and ".join(dict.fromkeys(names))


def _format_options(options: Mapping[str, Any]) -> str:
    """Return the numbers of a network: "width 16, levels 5"."""
    return ", ".join(
        f"{name} {value}" for name, value in options.items() if not isinstance(value, bool)
    )


def _join(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - MAX_NAMES
    return ", ".join(listed[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")

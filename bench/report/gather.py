"""Rows of several run folders in one table, and stored rows that a study does not ask for.

Rows of one section that have the same label and answer different questions stay apart: all but the
first get the name of their folder, or "not in the study", behind their label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from bench.files.hashing import digest
from bench.records import NOT_IN_QUESTION, Cell, Record
from bench.report.frame import cell_section_key
from bench.report.results import RunResults, collect_results
from bench.study.store import Store

OUTSIDE = "not in the study"
MAX_NAMES = 5  # labels in a sentence


def gather_results(stores: Sequence[Store], with_others: bool = False) -> RunResults:
    """Merge the records and cells of run folders into rows; what two folders have counts once.

    Args:
        stores: of the folders, in the order of the table.
        with_others: include stored records of cells that a folder's study does not have.
    """
    labels = _Labels()
    records: dict[str, Record] = {}
    cells: dict[str, Cell] = {}
    for store in stores:
        origin = store.folder.resolve().name
        found = [(origin, record) for record in store.records()]
        if with_others:
            found += [(OUTSIDE, record) for record in store.other_records()]
        for cell in store.cells():
            cells.setdefault(cell.key, labels.apply(cell, origin))
        for place, record in found:
            if record.key not in cells:
                cells[record.key] = labels.apply(record.cell, place)
            records.setdefault(record.key, replace(record, cell=cells[record.key]))
    return collect_results(list(records.values()), list(cells.values()))


def describe_others(store: Store) -> str:
    """Return a sentence on the stored rows that the study of a folder leaves out; "" for none."""
    rows = {_row_key(record.cell): record.cell.label for record in store.other_records()}
    if not rows:
        return ""
    names = list(dict.fromkeys(f"'{label}'" for label in rows.values()))
    listed = ", ".join(names[:MAX_NAMES])
    if len(names) > MAX_NAMES:
        listed += f" and {len(names) - MAX_NAMES} more"
    are = "row is" if len(rows) == 1 else "rows are"
    them = "it" if len(rows) == 1 else "them"
    return (
        f"{len(rows)} stored {are} not in this study: {listed}; "
        f"prunebench table {store.folder} --all shows {them}"
    )


class _Labels:
    """The labels that rows have in the table."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}  # row key -> label
        self._taken: set[tuple[str, str]] = set()  # section, label

    def apply(self, cell: Cell, origin: str) -> Cell:
        """Return the cell with a label that no other row of its section has."""
        row, section = _row_key(cell), cell_section_key(cell)
        if row not in self._labels:
            free = (
                label
                for label in _candidates(cell.label, origin)
                if (section, label) not in self._taken
            )
            self._labels[row] = next(free)
            self._taken.add((section, self._labels[row]))
        label = self._labels[row]
        return cell if cell.label == label else replace(cell, label=label)


def _candidates(label: str, origin: str) -> Iterator[str]:
    yield label
    yield f"{label} ({origin})"
    yield from (f"{label} ({origin}, {number})" for number in count(2))


def _row_key(cell: Cell) -> str:
    """Return a key that is equal for cells of one row: they differ in ratio and seed alone."""
    return digest([cell.label, cell.to_json((*NOT_IN_QUESTION, "ratio"))])

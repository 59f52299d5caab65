"""The results of a run, computed once for all tables and figures of a report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.records import Cell, Record
from bench.report.comparison import compare_with_main
from bench.report.frame import cell_section_key, merge_rows, section_key
from bench.report.front import add_front
from bench.report.ranks import add_ranks
from bench.study.store import Store


@dataclass(frozen=True)
class RunResults:
    """The results of a run, or of one section of it.

    Args:
        records: in the order of the study.
        cells: of the study; empty if none is stored.
        rows: of the table, one per question (`bench.report.frame.merge_rows`), with ranks, the
            comparison with the first row of MOSP, and whether they are on the Pareto front.
    """

    records: Sequence[Record]
    cells: Sequence[Cell]
    rows: Sequence[dict[str, Any]]

    @property
    def methods(self) -> dict[str, str]:
        """The method of each label, in the order of the table."""
        return {row["label"]: row["method"] for row in self.rows}

    def split_sections(self) -> list["RunResults"]:
        """Return the results of each section, in the order of the table."""
        records: dict[str, list[Record]] = defaultdict(list)
        cells: dict[str, list[Cell]] = defaultdict(list)
        for record in self.records:
            records[cell_section_key(record.cell)].append(record)
        for cell in self.cells:
            cells[cell_section_key(cell)].append(cell)
        return [
            RunResults(records[key], cells[key], list(rows))
            for key, rows in groupby(self.rows, key=section_key)
        ]


def collect_results(records: Sequence[Record], cells: Sequence[Cell] = ()) -> RunResults:
    """Merge records into rows, rank and compare them; cells without a record become pending."""
    rows = add_ranks(merge_rows(records, cells), records)
    return RunResults(records, cells, add_front(compare_with_main(rows, records)))


def read_results(store: Store) -> RunResults:
    """Read the records and cells of a store and merge them into rows."""
    return collect_results(store.records(), store.cells())

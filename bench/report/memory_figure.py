"""Memory per time step before and after pruning, on one scale (Fig. 3a of the MOSP paper).

Each section has one pair of panels: the unpruned network, and the first row of MOSP, or of the
first method without MOSP, at the smallest ratio and the first seed that has a finished record.
"""

from pathlib import Path
from typing import NamedTuple

from bench.errors import ConfigError
from bench.memory.timeline import MemoryProfile, TimeStep
from bench.records import Record
from bench.report.captions import section_title
from bench.report.frame import (
    MAIN_METHOD,
    cell_fields,
    cell_section_key,
    group_by,
    row_name,
)
from bench.report.results import RunResults
from bench.report.style import open_figure
from bench.report.timeline_plot import DOTS_PER_INCH, INCHES, draw_panel


class Pair(NamedTuple):
    """The title of a section, and its records before and after pruning."""

    title: str
    before: Record
    after: Record


def draw(results: RunResults, path: Path, *copies: Path) -> Path:
    """Write the figure as png, svg or pdf, by the suffix of each path; return the first path.

    Raises:
        ConfigError: no section has finished records before and after pruning that hold their time
            steps.
    """
    pairs = find_pairs(results)
    if not pairs:
        raise ConfigError(
            "there is no pair of finished records, unpruned and pruned, "
            "that hold their time steps; run the study again"
        )
    panels = [(pair, record) for pair in pairs for record in (pair.before, pair.after)]
    inches = (INCHES[0], INCHES[1] * len(panels))
    with open_figure((path, *copies), inches, DOTS_PER_INCH) as figure:
        for number, (pair, record) in enumerate(panels, 1):
            draw_panel(
                figure.add_subplot(len(panels), 1, number),
                f"{pair.title}: {record_name(record)}, planned",
                record_profile(record),
                record_profile(pair.before).peak_bytes,
            )
    return path


def find_pairs(results: RunResults) -> list[Pair]:
    """Return the records before and after pruning, in the order of the sections."""
    pairs = []
    finished = [record for record in results.records if record.status == "done" and record.timeline]
    for section in group_by(finished, lambda record: cell_section_key(record.cell)):
        before = [record for record in section if record.cell.is_reference]
        after = [record for record in section if record.cell.ratio < 1]
        if before and after:
            of_main_method = [record for record in after if record.cell.method == MAIN_METHOD]
            of_first_label = [
                record for record in after if record.cell.label == after[0].cell.label
            ]
            smallest = min(of_main_method or of_first_label, key=lambda record: record.cell.ratio)
            title = section_title(cell_fields(section[0].cell))
            pairs.append(Pair(title, before[0], smallest))
    return pairs


def record_profile(record: Record) -> MemoryProfile:
    """Return the planned memory profile that a record holds."""
    steps = tuple(TimeStep(**step) for step in record.timeline)
    return MemoryProfile(
        record.cell.measured_at, "planned", steps, record.parameters or 0, record.macs or 0
    )


def record_name(record: Record) -> str:
    """Return the name of the row of a record."""
    return row_name(record.cell.label, record.cell.ratio)

"""Memory per time step before and after pruning, stacked by live value, on one scale (Fig. 3a of the MOSP paper).

One pair of panels for each section of `frame`: the unpruned network, and the first row of MOSP, or
of whatever method comes first, at the smallest ratio and the first seed that has a finished record.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import ConfigError
from bench.memory.profile import MemoryProfile, TimeStep
from bench.records import UNPRUNED, Record
from bench.report.frame import REFERENCE, asked, grouped, row_name, section
from bench.report.style import drawn
from bench.report.table import title
from bench.report.timeline_plot import DOTS_PER_INCH, INCHES, panel


class Pair(NamedTuple):
    """What is drawn of a section: its title, the record before pruning and the one after."""

    title: str
    before: Record
    after: Record


def draw(records: Sequence[Record], path: Path | str) -> Path:
    """Writes the figure; the ending of `path` chooses the format (png, svg, pdf). Returns the path.

    Raises:
        ConfigError: no section has finished records before and after pruning that know their time
            steps.
    """
    found = pairs(records)
    if not found:
        raise ConfigError(
            "there is no pair of finished records, unpruned and pruned, that know their time steps; run the study again"
        )
    with drawn(Path(path), (INCHES[0], 2 * INCHES[1] * len(found)), DOTS_PER_INCH) as figure:
        for place, pair in enumerate(found):
            for below, record in enumerate((pair.before, pair.after)):
                axes = figure.add_subplot(2 * len(found), 1, 2 * place + below + 1)
                panel(
                    axes,
                    f"{pair.title}: {name(record)}, planned",
                    profile_of(record),
                    profile_of(pair.before).peak_bytes,
                )
    return Path(path)


def pairs(records: Sequence[Record]) -> list[Pair]:
    """Before and after, in the order of the sections."""
    result = []
    known = [record for record in records if record.status == "done" and record.timeline]
    for members in grouped(known, lambda record: section(asked(record.cell))):
        before = [
            record
            for record in members
            if record.cell.method == UNPRUNED and record.cell.ratio == 1
        ]
        after = [record for record in members if record.cell.ratio < 1]
        if before and after:
            chosen = [record for record in after if record.cell.method == REFERENCE]
            chosen = chosen or [
                record for record in after if record.cell.label == after[0].cell.label
            ]
            result.append(
                Pair(
                    title(asked(members[0].cell)),
                    before[0],
                    min(chosen, key=lambda record: record.cell.ratio),
                )
            )
    return result


def profile_of(record: Record) -> MemoryProfile:
    """The planned profile that a record keeps."""
    steps = tuple(TimeStep(**step) for step in record.timeline)
    return MemoryProfile(
        record.cell.measured_at, "planned", steps, record.parameters or 0, record.macs or 0
    )


def name(record: Record) -> str:
    """The row of a record in words."""
    return row_name(record.cell.label, record.cell.ratio)

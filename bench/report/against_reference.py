"""New rows beside the stored rows of a reference, and what could make the comparison unfair.

The new rows are trained here, the others were trained before, perhaps on another machine and with
other versions. Both are pruned from an unpruned network of the same recipe and seed: if its score
here is that of the reference, training here does what it did there. If it is not, the difference is
told, because it is contained in every other difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.errors import ConfigError
from bench.files.hashing import digest
from bench.records import Cell, Record
from bench.report.frame import SECTION_FIELDS, cell_fields
from bench.report.results import RunResults, collect_results
from bench.report.scores import comparison_key
from bench.report.study_age import compare_with_cells

# Of the unpruned network's mean PSNR. Another kind of processor moves the last bits of a stored
# network's scores, far less than this; a network that was trained to another end moves by tenths.
TOLERANCE_DB = 0.05
QUESTION = (*SECTION_FIELDS, "recipe", "compute", "data_fingerprint", "ratio", "seed")


def check_comparable(cells: Sequence[Cell], reference: Sequence[Record]) -> None:
    """Raise ConfigError if no record answers what one of the new cells asks of another method."""
    pruned = [cell for cell in cells if not cell.is_reference]
    if {_pair_key(cell) for cell in pruned} & {_pair_key(record.cell) for record in reference}:
        return
    ours = [cell_fields(cell) for cell in pruned]
    theirs = [cell_fields(record.cell) for record in reference if not record.cell.is_reference]
    differ = [name for name in QUESTION if not _values(ours, name) & _values(theirs, name)]
    raise ConfigError(
        "the reference answers another question than these cells: no value in common of "
        f"{', '.join(differ) or 'all that a comparison needs'}; run all rows of the study here "
        "(without --against), or give --against results of the same question"
    )


def _pair_key(cell: Cell) -> tuple[str, int]:
    return comparison_key(cell_fields(cell)), cell.seed


def _values(rows: Iterable[Mapping[str, Any]], name: str) -> set[str]:
    return {digest(row[name]) for row in rows}


def join_reference(new: Sequence[Record], reference: Sequence[Record]) -> RunResults:
    """Return the rows of the reference, at the seeds and ratios of the new ones, and the new rows.

    A new row whose label the reference has gets "(new)" behind it. The unpruned network is that of
    the reference.
    """
    pruned = [record for record in new if not record.cell.is_reference]
    places = {(record.cell.ratio, record.cell.seed) for record in pruned}
    places |= {(1.0, seed) for _, seed in places}
    kept = [entry for entry in reference if (entry.cell.ratio, entry.cell.seed) in places]
    taken = {record.cell.label for record in kept}
    return collect_results([*kept, *(_relabel(record, taken) for record in pruned)])


def _relabel(record: Record, taken: set[str]) -> Record:
    if record.cell.label not in taken:
        return record
    return replace(record, cell=replace(record.cell, label=f"{record.cell.label} (new)"))


def describe_fairness(
    new: Sequence[Record], reference: Sequence[Record], cells: Sequence[Cell]
) -> list[str]:
    """Return sentences, without full stop, on what is equal of new and stored rows and what is not.

    Args:
        new: with those of the unpruned network.
        reference: stored.
        cells: all that the study asks today.
    """
    age = compare_with_cells([cell_fields(record.cell) for record in reference], reference, cells)
    missing = sorted({record.cell.seed for record in new} - {r.cell.seed for r in reference})
    lines = [*_compare_unpruned(new, reference), _compare_machines(new, reference)]
    lines += [age.edited] if age.edited else ["Method sources are those of the reference"]
    if missing:
        lines.append(f"Not in the reference: seeds {', '.join(map(str, missing))}")
    return lines


def _compare_unpruned(new: Sequence[Record], reference: Sequence[Record]) -> list[str]:
    """Compare the scores of the unpruned network, seed by seed."""
    theirs = {_pair_key(record.cell): record for record in reference if _is_start(record)}
    pairs = [
        (record.cell.seed, record.means["psnr_db"], theirs[_pair_key(record.cell)].means["psnr_db"])
        for record in new
        if _is_start(record) and _pair_key(record.cell) in theirs
    ]
    if not pairs:
        return ["UNCHECKED: the unpruned network was not scored both here and in the reference"]
    return [
        f"The unpruned network of seed {seed} has {here:.2f} dB here and {there:.2f} dB in the "
        "reference: "
        + (
            f"equal within {TOLERANCE_DB} dB"
            if abs(here - there) <= TOLERANCE_DB
            else f"UNEQUAL by {abs(here - there):.2f} dB, more than {TOLERANCE_DB}: the new row "
            "starts from another network than the others, and its differences contain this one"
        )
        for seed, here, there in pairs
    ]


def _is_start(record: Record) -> bool:
    """Return whether it has the scores of the unpruned network as pruning starts from it."""
    trained_on = record.cell.method_options.get("finetune")
    return record.cell.is_reference and not trained_on and "psnr_db" in record.means


def _compare_machines(new: Sequence[Record], reference: Sequence[Record]) -> str:
    """Compare device, threads and versions; the kind of processor is not recorded."""
    here, there = _collect_environment(new), _collect_environment(reference)
    differ = [
        f"{name} {' and '.join(here[name])} here, {' and '.join(there[name])} in the reference"
        for name in here
        if name in there and here[name] != there[name]
    ]
    if differ:
        return f"UNEQUAL: {'; '.join(differ)}"
    return "Device, threads and versions are those of the reference; processors are not recorded"


def _collect_environment(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return name -> its values in the records, sorted."""
    found: dict[str, set[str]] = {}
    for record in records:
        environment = record.environment
        values = {name: environment.get(name) for name in ("device", "python", "threads")}
        for name, value in (values | dict(environment.get("versions", {}))).items():
            if value is not None:
                found.setdefault(name, set()).add(str(value))
    return {name: sorted(values) for name, values in found.items()}

"""The memory of the page: the unpruned network beside one chosen row, time step by time step.

Both networks run the same layers, and a pruned one may have more: compactors, or what a method
inserted. Steps are aligned by the names of their layers, so that a layer is on one line.
"""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from bench.records import Record
from bench.report.page_crops import format_ratio
from bench.report.pattern import format_unit
from bench.units import format_mib, mib

MAX_LIVE_VALUES = 4  # that are named
AlignedStep = tuple[str, float | None, float | None]  # layer, MiB before and after pruning


def compare_memory(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return label, ratio, aligned steps and a sentence for each pruned record with a timeline.

    There are none without an unpruned record.
    """
    timed = [record for record in records if record.timeline]
    unpruned = next((record for record in timed if record.cell.is_reference), None)
    if unpruned is None:
        return []
    return [
        {
            "label": record.cell.label,
            "ratio": format_ratio(record.cell.ratio),
            "steps": align_timelines(unpruned.timeline, record.timeline),
            "peaks": f"Peak of the unpruned network: {_describe_peak(unpruned)}. "
            f"Peak of {record.cell.label}: {_describe_peak(record)}.",
        }
        for record in timed
        if not record.cell.is_reference
    ]


def align_timelines(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[AlignedStep]:
    """Return the steps of two timelines, those of one layer together; None where one has none."""
    layers, others = ([str(step["op"]) for step in timeline] for timeline in (before, after))
    matcher = SequenceMatcher(a=layers, b=others, autojunk=False)
    lines: list[AlignedStep] = []
    for kind, low, high, first, last in matcher.get_opcodes():
        if kind == "equal":
            pairs = zip(before[low:high], after[first:last], strict=True)
            lines += [(format_unit(a["op"]), _alive(a), _alive(b)) for a, b in pairs]
        else:
            lines += [(format_unit(step["op"]), _alive(step), None) for step in before[low:high]]
            lines += [(format_unit(step["op"]), None, _alive(step)) for step in after[first:last]]
    return lines


def _alive(step: Mapping[str, Any]) -> float:
    return round(mib(step["bytes"]), 1)


def _describe_peak(record: Record) -> str:
    """Describe the first step with the most bytes, and what is alive there."""
    peak = max(record.timeline, key=lambda step: step["bytes"])
    live = sorted(peak["live"].items(), key=lambda item: -item[1])
    names = [f"{format_unit(name)} {mib(size):.1f}" for name, size in live[:MAX_LIVE_VALUES]]
    rest = len(live) - MAX_LIVE_VALUES
    more = [f"{rest} smaller ones"] if rest > 0 else []
    return f"{format_mib(peak['bytes'])} in {peak['op']} ({', '.join([*names, *more])})"

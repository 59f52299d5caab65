"""The expected time of a study on one, two, four, ... devices.

The unpruned networks come first, then the jobs, each whole on one device. The longest start first,
so the longest job bounds the time. A device is what one job has for itself: a GPU, its share of
one, or the cores of `recipe.threads`.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.runner.forecast import Forecast
from bench.study.study import Study
from bench.units import format_duration


@dataclass(frozen=True)
class PlanEntry:
    """A piece of work that runs on one device: an unpruned network (no ratios) or a job."""

    what: str
    ratios: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """All that would run.

    Args:
        asked: number of cells of the study.
        missing: number of cells without a record.
        pretraining: unpruned networks, the longest first.
        jobs: the longest first.
        seconds: number of devices -> seconds from begin to end.
    """

    asked: int
    missing: int
    pretraining: tuple[PlanEntry, ...]
    jobs: tuple[PlanEntry, ...]
    seconds: dict[int, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings."""
        return asdict(self)


def make_plan(study: Study, forecast: Forecast, devices: Iterable[int]) -> Plan:
    """Return the jobs of the missing cells, and the time on each number of devices."""
    forecasts = {entry.cell.key: entry for entry in forecast.cells}
    jobs = []
    for job in study.jobs(entry.cell for entry in forecast.cells):
        cell = job.cells[0]
        entries = [forecasts[cell.key] for cell in job.cells]
        jobs.append(
            PlanEntry(
                what=f"{cell.task} {cell.backbone}, {cell.label}, seed {cell.seed}",
                ratios=len(entries),
                steps=sum(entry.steps for entry in entries),
                seconds=sum(entry.seconds for entry in entries),
            )
        )
    networks = [
        PlanEntry(entry.what, 0, entry.steps, entry.seconds) for entry in forecast.pretraining
    ]
    waves = [_sort_longest_first(networks), _sort_longest_first(jobs)]
    total = {
        count: sum(makespan([entry.seconds for entry in wave], count) for wave in waves)
        for count in devices
    }
    return Plan(len(study.cells()), len(forecasts), waves[0], waves[1], total)


def _sort_longest_first(entries: Iterable[PlanEntry]) -> tuple[PlanEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: -entry.seconds))


def makespan(seconds: Sequence[float], devices: int) -> float:
    """Return when the last entry ends if each, in this order, goes to the first free device.

    Args:
        seconds: duration of each entry.
        devices: number of devices.
    """
    free = [0.0] * devices
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def format_plan(plan: Plan, folder: object) -> str:
    """Return a text for the terminal.

    Args:
        plan: the plan.
        folder: the run folder, which has the records of the other cells.
    """
    lines = [f"{entry.what}: {_format_cost(entry)}" for entry in plan.pretraining]
    for entry in plan.jobs:
        noun = "ratio" if entry.ratios == 1 else "ratios"
        lines.append(f"{entry.what}: {entry.ratios} {noun}, {_format_cost(entry)}")
    steps = sum(entry.steps for entry in (*plan.pretraining, *plan.jobs))
    total = (
        f"{plan.missing} of {plan.asked} cells to run in {len(plan.jobs)} jobs, "
        f"{steps:,} training steps"
    )
    if plan.missing < plan.asked:
        total += f"; the others are stored in {folder}"
    lines.append(total)
    lines += [
        f"{count} at a time: about {format_duration(seconds)}"
        for count, seconds in plan.seconds.items()
    ]
    return "\n".join(lines)


def _format_cost(entry: PlanEntry) -> str:
    return f"{entry.steps:,} steps, about {format_duration(entry.seconds)}"

"""What a study would cost on one, two, four, ... devices, before anybody pays for it.

The unpruned networks come first, then the jobs, each whole on one device; the longest begin first,
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
class Piece:
    """What one device does in one go: an unpruned network (no ratios) or a job."""

    what: str
    ratios: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """All that would run.

    Args:
        asked: cells of the study. missing: those that have no record.
        pretraining, jobs: the longest first.
        seconds: devices -> seconds from begin to end.
    """

    asked: int
    missing: int
    pretraining: tuple[Piece, ...]
    jobs: tuple[Piece, ...]
    seconds: dict[int, float]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings."""
        return asdict(self)


def plan(study: Study, forecast: Forecast, devices: Iterable[int]) -> Plan:
    """The jobs of what is missing, and the time on so many devices."""
    foreseen = {entry.cell.key: entry for entry in forecast.cells}
    jobs = []
    for job in study.jobs(entry.cell for entry in forecast.cells):
        cell, entries = job.cells[0], [foreseen[one.key] for one in job.cells]
        what = f"{cell.task} {cell.backbone}, {cell.label}, seed {cell.seed}"
        jobs.append(
            Piece(
                what,
                len(entries),
                sum(one.steps for one in entries),
                sum(one.seconds for one in entries),
            )
        )
    waves = [
        [Piece(what, 0, steps, seconds) for what, steps, seconds in forecast.pretraining],
        jobs,
    ]
    pretraining, rows = (tuple(sorted(wave, key=lambda piece: -piece.seconds)) for wave in waves)
    total = {
        count: sum(
            makespan([piece.seconds for piece in wave], count) for wave in (pretraining, rows)
        )
        for count in devices
    }
    return Plan(len(study.cells()), len(foreseen), pretraining, rows, total)


def makespan(seconds: Sequence[float], devices: int) -> float:
    """When the last piece ends if the next one, in this order, always goes to the device that is free first."""
    free = [0.0] * devices
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def text(made: Plan, folder: object) -> str:
    """For a person."""
    lines = [f"{piece.what}: {_cost(piece)}" for piece in made.pretraining]
    for piece in made.jobs:
        lines.append(
            f"{piece.what}: {piece.ratios} {'ratio' if piece.ratios == 1 else 'ratios'}, {_cost(piece)}"
        )
    steps = sum(piece.steps for piece in (*made.pretraining, *made.jobs))
    total = f"{made.missing} of {made.asked} cells to run in {len(made.jobs)} jobs, {steps:,} training steps"
    lines.append(
        f"{total}; the others are stored in {folder}" if made.missing < made.asked else total
    )
    return "\n".join(
        [
            *lines,
            *(
                f"{count} at a time: about {format_duration(seconds)}"
                for count, seconds in made.seconds.items()
            ),
        ]
    )


def _cost(piece: Piece) -> str:
    return f"{piece.steps:,} steps, about {format_duration(piece.seconds)}"

"""What a run says while it goes: what is running, how many cells are left, and the time they will take.

`Progress` is the neutral member and says nothing. `TextProgress` writes to stderr: one line a cell,
and in a terminal one line that is rewritten. The remaining time is the forecast of the cells that
are left, corrected by how long the finished ones really took.
"""

import sys
from collections.abc import Mapping
from time import perf_counter
from typing import TextIO

from bench.records import Cell, Record, refusal
from bench.units import format_duration

QUIET_SECONDS = 15.0


class Progress:
    """Listens to a run. This one is silent."""

    def begin(
        self, present: int, foreseen_seconds: Mapping[str, float], shared_seconds: float
    ) -> None:
        """A study starts.

        Args:
            present: cells whose records are there already.
            foreseen_seconds: key -> forecast, for each cell that will run.
            shared_seconds: forecast of the pretraining that comes first.
        """

    def working(self, what: str) -> None:
        """Something else is being worked on from now, or nothing that has a name."""

    def phase(self, name: str) -> None:
        """The work is in this phase from now."""

    def limited(self, cell: Cell, limit_seconds: float, left_seconds: float) -> None:
        """From now, time runs for this cell.

        Args:
            cell: that is worked for.
            limit_seconds: what it had. left_seconds: what is left of it.
        """

    def unlimited(self) -> None:
        """It does no longer run."""

    def step(self, phase: str, done: int, steps: int) -> None:
        """A training phase moves on."""

    def finished(self, record: Record) -> None:
        """A record was written."""


class TextProgress(Progress):
    """Lines for a person.

    Args:
        stream: where to; stderr by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._left: dict[str, float] = {}
        self._done = self._total = 0
        self._what = ""
        self._foreseen = self._shared = self._taken = 0.0
        self._since = self._said = perf_counter()

    def begin(
        self, present: int, foreseen_seconds: Mapping[str, float], shared_seconds: float
    ) -> None:
        """Says how much there is to do."""
        self._left, self._shared = dict(foreseen_seconds), shared_seconds
        self._done, self._total = present, present + len(foreseen_seconds)
        self._since = perf_counter()
        if self._left:
            self._line(
                f"{len(self._left)} of {self._total} cells to run, about {format_duration(self._remaining())}"
            )
        else:
            self._line(f"all {self._total} cells are stored")

    def working(self, what: str) -> None:
        """Names what runs now."""
        self._what = what
        if what:
            self._status(what)

    def step(self, phase: str, done: int, steps: int) -> None:
        """Shows the phase and how far it is."""
        self._status(
            f"{self._what}: {phase} {done}/{steps}" if self._what else f"{phase} {done}/{steps}"
        )

    def finished(self, record: Record) -> None:
        """One line a record."""
        now = perf_counter()
        self._foreseen += self._left.pop(record.key, 0.0) + self._shared
        self._taken, self._since, self._shared = self._taken + now - self._since, now, 0.0
        self._done += 1
        cell = record.cell
        means = ", ".join(f"{name} {value:.3f}" for name, value in record.means.items())
        outcome = (
            f"done: {means}"
            if record.status == "done"
            else refusal(record.status, record.phase, record.reason)
        )
        answer = f"{cell.label}, ratio {cell.ratio:g}, seed {cell.seed}: {outcome}"
        self._line(f"[{self._done}/{self._total}] {answer}{self._outlook()}")

    def _remaining(self) -> float:
        """Seconds; the forecast of what is left, times how slow the finished cells were, less what the present one has taken."""
        slowness = self._taken / self._foreseen if self._foreseen > 0 else 1.0
        return max(
            0.0,
            (sum(self._left.values()) + self._shared) * slowness - (perf_counter() - self._since),
        )

    def _outlook(self) -> str:
        return (
            f" ({len(self._left)} left, about {format_duration(self._remaining())})"
            if self._left
            else ""
        )

    def _status(self, text: str) -> None:
        now = perf_counter()
        if self._live:
            self._stream.write(f"\r\x1b[K{self._count()}{text}{self._outlook()}")
            self._stream.flush()
        elif now - self._said > QUIET_SECONDS:
            self._line(f"{self._count()}{text}{self._outlook()}")

    def _count(self) -> str:
        return f"[{self._done}/{self._total}] " if self._total else ""

    def _line(self, text: str) -> None:
        self._said = perf_counter()
        self._stream.write(("\r\x1b[K" if self._live else "") + text + "\n")
        self._stream.flush()

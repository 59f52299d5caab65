"""Progress reports of a run: what is running, how many cells are left, the time they take.

`Progress` reports nothing. `TextProgress` writes to stderr: one line for each cell, and in a
terminal one line that is rewritten. The remaining time is the forecast of the cells that are left,
corrected by how long the finished ones really took.
"""

import sys
from collections.abc import Mapping
from time import perf_counter
from typing import TextIO

from bench.records import Cell, Record, describe_outcome
from bench.units import format_duration

QUIET_SECONDS = 15.0
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Listens to a run. This class reports nothing."""

    def on_begin(
        self, present: int, expected_seconds: Mapping[str, float], shared_seconds: float
    ) -> None:
        """A study starts.

        Args:
            present: number of cells that have a record already.
            expected_seconds: key -> forecast, for each cell that will run.
            shared_seconds: forecast of the pretraining that comes first.
        """

    def on_work(self, what: str) -> None:
        """Work on `what` starts; an empty text means that no work is running."""

    def on_phase(self, name: str) -> None:
        """The work enters a phase."""

    def on_limit(self, cell: Cell, limit_seconds: float, left_seconds: float) -> None:
        """The time of a cell starts running.

        Args:
            cell: the cell.
            limit_seconds: its time limit.
            left_seconds: what is left of it.
        """

    def on_limit_end(self) -> None:
        """The time of the cell stops running."""

    def on_step(self, phase: str, done: int, steps: int) -> None:
        """A training has done some of its steps."""

    def on_record(self, record: Record) -> None:
        """A record was written."""


class TextProgress(Progress):
    """Writes lines for the terminal.

    Args:
        stream: where they are written; stderr by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._left: dict[str, float] = {}
        self._done = self._total = 0
        self._what = ""
        self._expected = self._shared = self._taken = 0.0
        self._since = self._written = perf_counter()

    def on_begin(
        self, present: int, expected_seconds: Mapping[str, float], shared_seconds: float
    ) -> None:
        """Write how many cells will run."""
        self._left = dict(expected_seconds)
        self._shared = shared_seconds
        self._done = present
        self._total = present + len(expected_seconds)
        self._since = perf_counter()
        if self._left:
            duration = format_duration(self._remaining_seconds())
            self._write(f"{len(self._left)} of {self._total} cells to run, about {duration}")
        else:
            self._write(f"all {self._total} cells are stored")

    def on_work(self, what: str) -> None:
        """Show what runs now."""
        self._what = what
        if what:
            self._show_status(what)

    def on_step(self, phase: str, done: int, steps: int) -> None:
        """Show the phase and its steps."""
        work = f"{self._what}: {phase}" if self._what else phase
        self._show_status(f"{work} {done}/{steps}")

    def on_record(self, record: Record) -> None:
        """Write one line for the record."""
        now = perf_counter()
        self._expected += self._left.pop(record.key, 0.0) + self._shared
        self._taken += now - self._since
        self._since = now
        self._shared = 0.0
        self._done += 1
        cell = record.cell
        if record.status == "done":
            means = ", ".join(f"{name} {value:.3f}" for name, value in record.means.items())
            outcome = f"done: {means}"
        else:
            outcome = describe_outcome(record.status, record.phase, record.reason)
        self._write(
            f"[{self._done}/{self._total}] {cell.label}, ratio {cell.ratio:g}, seed {cell.seed}: "
            f"{outcome}{self._format_remaining_time()}"
        )

    def _remaining_seconds(self) -> float:
        """Return the forecast of what is left, corrected by the time that finished cells took.

        What the present cell has taken so far is subtracted.
        """
        slowness = self._taken / self._expected if self._expected > 0 else 1.0
        expected = (sum(self._left.values()) + self._shared) * slowness
        return max(0.0, expected - (perf_counter() - self._since))

    def _format_remaining_time(self) -> str:
        if not self._left:
            return ""
        seconds = self._remaining_seconds()
        duration = f"about {format_duration(seconds)}" if seconds else "longer than expected"
        return f" ({len(self._left)} left, {duration})"

    def _show_status(self, text: str) -> None:
        """Rewrite the line of a terminal; elsewhere write a line now and then."""
        now = perf_counter()
        count = f"[{self._done}/{self._total}] " if self._total else ""
        if self._live:
            self._stream.write(f"{CLEAR_LINE}{count}{text}{self._format_remaining_time()}")
            self._stream.flush()
        elif now - self._written > QUIET_SECONDS:
            self._write(f"{count}{text}{self._format_remaining_time()}")

    def _write(self, text: str) -> None:
        self._written = perf_counter()
        self._stream.write((CLEAR_LINE if self._live else "") + text + "\n")
        self._stream.flush()

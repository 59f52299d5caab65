"""Progress reports of a run: what is running, how many cells are left, the time they take.

`Progress` reports nothing. `TextProgress` writes lines, `bench.runner.terminal_progress` draws in a
terminal. Several jobs may run at a time: each tells a listener of its own, `at_job`, what it does.
"""

import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Self, TextIO

from bench.errors import one_line
from bench.records import Cell, Record, describe_outcome
from bench.runner.remaining_time import RemainingTime
from bench.units import format_duration

QUIET_SECONDS = 15.0
QUIET, NORMAL, VERBOSE = -1, 0, 1  # how much is written


class Progress:
    """Listens to a run. This class reports nothing."""

    def at_job(self, key: str) -> "Progress":
        """Return the listener of the job with this key: to its work, phases, limits and steps."""
        return self

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

    def on_search(self, target: float, peak: float | None = None) -> None:
        """A method searches for a network.

        Args:
            target: its budget, as a share of the unpruned peak.
            peak: of the network that the search has reached, as such a share; None if unknown.
        """

    def on_cell(self, cell: Cell) -> None:
        """The work is for this cell: if its process is lost, this cell alone has failed."""

    def on_limit(self, cell: Cell, limit_seconds: float, left_seconds: float) -> None:
        """The time of a cell starts running.

        Args:
            cell: the cell.
            limit_seconds: its time limit.
            left_seconds: what is left of it.
        """

    def on_limit_end(self) -> None:
        """The time of the cell stops running."""

    def on_step(self, phase: str, done: int, steps: int, loss: float | None = None) -> None:
        """A training has done some of its steps.

        Args:
            phase: of the training.
            done: steps so far.
            steps: in all.
            loss: mean training loss since the call before; None if it is not known.
        """

    def on_record(self, record: Record) -> None:
        """A record was written."""


class JobProgress(Progress):
    """Listens to one job and remembers what it is doing.

    Args:
        show: called with this object after each change.
    """

    def __init__(self, show: Callable[["JobProgress"], None]) -> None:
        self._show = show
        self.on_work("")

    def on_work(self, what: str) -> None:
        """Remember the work."""
        self.what = one_line(what)
        self.search = ""
        self.on_phase("")

    def on_phase(self, name: str) -> None:
        """Remember the phase, of which no step is done yet."""
        self.phase = name
        self.done = self.steps = 0
        self.loss: float | None = None
        self._show(self)

    def on_search(self, target: float, peak: float | None = None) -> None:
        """Remember how far the search is from its budget."""
        self.search = f"{'' if peak is None else f'peak {peak:.0%} '}→ {target:.0%}"
        self._show(self)

    @property
    def stage(self) -> str:
        """The phase, and in a search how far it is from its budget."""
        return f"{self.phase} {self.search}".strip() if self.phase == "search" else self.phase

    def on_step(self, phase: str, done: int, steps: int, loss: float | None = None) -> None:
        """Remember the steps and the loss."""
        self.phase, self.done, self.steps, self.loss = phase, done, steps, loss
        self._show(self)


class TextProgress(Progress):
    """Writes lines: one for each cell, and every QUIET_SECONDS one that says what is running.

    Args:
        stream: where they are written; stderr by default.
        verbosity: QUIET for lines of failed cells alone, VERBOSE for one line more for each phase.
    """

    def __init__(self, stream: TextIO | None = None, verbosity: int = NORMAL) -> None:
        self._stream = stream or sys.stderr
        self._verbosity = verbosity
        self._time = RemainingTime({}, 0.0)
        self._done = self._total = 0
        self._jobs: dict[str, JobProgress] = {}
        self._phases: set[tuple[str, str]] = set()  # that have a line
        self._written = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the output."""

    def at_job(self, key: str) -> JobProgress:
        """Return the listener of a job."""
        if key not in self._jobs:
            self._jobs[key] = JobProgress(self._show)
        return self._jobs[key]

    def on_begin(
        self, present: int, expected_seconds: Mapping[str, float], shared_seconds: float
    ) -> None:
        """Write how many cells will run."""
        self._time = RemainingTime(expected_seconds, shared_seconds)
        self._done = present
        self._total = present + len(expected_seconds)
        if expected_seconds:
            duration = format_duration(self._time.seconds())
            self._write(f"{len(expected_seconds)} of {self._total} cells to run, about {duration}")
        else:
            self._write(f"all {self._total} cells are stored")

    def on_work(self, what: str) -> None:
        """Show work that belongs to no job."""
        self.at_job("").on_work(what)

    def on_phase(self, name: str) -> None:
        """Show the phase of work that belongs to no job."""
        self.at_job("").on_phase(name)

    def on_step(self, phase: str, done: int, steps: int, loss: float | None = None) -> None:
        """Show the steps of work that belongs to no job."""
        self.at_job("").on_step(phase, done, steps, loss)

    def on_record(self, record: Record) -> None:
        """Write one line for the record."""
        self._time.note_record(record.key)
        self._done += 1
        cell = record.cell
        if record.status == "done":
            outcome = ", ".join(f"{name} {value:.3f}" for name, value in record.means.items())
        else:
            outcome = describe_outcome(record.status, record.phase, record.reason)
        line = (
            f"[{self._done}/{self._total}] '{cell.label}', ratio {cell.ratio:g}, "
            f"seed {cell.seed}: {outcome}"
        )
        self._write(line, self._format_remaining_time(), record.status == "failed")

    def _format_remaining_time(self) -> str:
        if not self._time.cells_left:
            return ""
        seconds = self._time.seconds()
        duration = f"about {format_duration(seconds)}" if seconds else "longer than expected"
        return f" ({self._time.cells_left} left, {duration})"

    def _show(self, job: JobProgress) -> None:
        """Write what a job does, if the last line is old or the phase is a new one."""
        if not job.what and not job.phase:
            return
        is_new = (job.what, job.phase) not in self._phases
        is_due = perf_counter() - self._written > QUIET_SECONDS
        if not is_due and not (is_new and self._verbosity >= VERBOSE):
            return
        self._phases.add((job.what, job.phase))
        count = f"[{self._done}/{self._total}] " if self._total else ""
        work = ": ".join(filter(None, (job.what, job.stage)))
        steps = f" {job.done}/{job.steps}" if job.steps else ""
        self._write(f"{count}{work}{steps}", self._format_remaining_time())

    def _write(self, text: str, remaining_time: str = "", is_failure: bool = False) -> None:
        self._written = perf_counter()
        if is_failure or self._verbosity > QUIET:
            self._stream.write(one_line(text + remaining_time) + "\n")
            self._stream.flush()

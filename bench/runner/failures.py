"""Failures as rows: the record of a failed cell, and what follows when a worker is lost.

A process can be killed from outside, most often by the system because memory has run out, or ended
or crashed by a method. Its job is run again for the cells that have no record yet. A cell that has
lost two workers becomes a failed row, and its job goes on with the others. All other jobs continue.
An executor whose workers can be lost keeps one `Attempt` for each job that a worker has.
"""

import signal
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, NamedTuple

import torch

from bench.contract import Budget
from bench.errors import BenchError, PluginError, one_line
from bench.records import Cell, Record, describe_outcome
from bench.runner.progress import Progress
from bench.runner.time_limit import TimeLimitExceeded

GRACE_SECONDS = 10.0  # after a time limit that the worker itself should have enforced
MAX_ENTRY_CHARACTERS = 10_000  # of one traceback entry: an error may quote anything
MAX_REASONS = 3  # in a summary
PHASE_ATTRIBUTE = "prunebench_phase"  # attribute of an error: the phase in which it was raised
NO_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "bad_alloc")


class Phases:
    """The phase that a job is in, for the rows of cells that fail.

    Args:
        progress: told too, so that an executor knows in which phase a worker was lost.
    """

    def __init__(self, progress: Progress) -> None:
        self._open = [""]
        self._progress = progress

    @contextmanager
    def enter_phase(self, name: str) -> Iterator[None]:
        """Mark errors raised inside the block with this phase, unless an inner block did."""
        self._open.append(name)
        self._progress.on_phase(name)
        try:
            yield
        except BaseException as error:
            vars(error).setdefault(PHASE_ATTRIBUTE, name)
            raise
        finally:
            self._open.pop()
            self._progress.on_phase(self._open[-1])


def failed_record(
    cell: Cell, error: BaseException, budget: Budget | None = None, phase: str = ""
) -> Record:
    """Return the record of a cell that ended in an error.

    Args:
        cell: the cell.
        error: the error.
        budget: the budget in bytes, if known.
        phase: where the error was raised, unless the error itself names the phase.
    """
    reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        reason = f"out of memory ({reason}); a smaller patch or batch of the recipe needs less"
    marked = getattr(error, PHASE_ATTRIBUTE, "") or getattr(error.__cause__, PHASE_ATTRIBUTE, "")
    entries = [
        entry[:MAX_ENTRY_CHARACTERS].encode(errors="replace").decode()
        for entry in traceback.format_exception(error)
    ]
    return Record(
        cell,
        "failed",
        one_line(reason),
        marked or phase,
        budget_bytes=budget.peak_bytes if budget else None,
        environment={"traceback": entries},
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory has run out.

    PyTorch has a class of its own for that only on a GPU.
    """
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY_TEXTS)


def summarize_failures(records: Sequence[Record]) -> str:
    """Return one line with the number of failed cells and the first of them; "" if none failed."""
    reasons = [
        f"{_name_cell(record.cell)}{describe_outcome('', record.phase, record.reason)}"
        for record in records
        if record.status == "failed"
    ]
    if not reasons:
        return ""
    more = f"; and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
    first = "; ".join(reasons[:MAX_REASONS])
    return f"{len(reasons)} of {len(records)} cells failed: {first}{more}"


def _name_cell(cell: Cell) -> str:
    return f"'{cell.label}' ratio {cell.ratio:g} seed {cell.seed}"


def describe_exit(exit_code: int | None) -> str:
    """Return a sentence that says how a worker ended.

    Args:
        exit_code: of its process; below 0 the signal that killed it.
    """
    if exit_code is None or exit_code >= 0:
        return f"the worker ended by itself with exit code {exit_code}"
    hint = ", perhaps because memory ran out" if -exit_code == getattr(signal, "SIGKILL", 9) else ""
    return f"the worker was killed by signal {-exit_code}{hint}"


class CellLimit(NamedTuple):
    """The time limit of the cell that a worker is working on.

    Args:
        cell: the cell.
        limit_seconds: its time limit.
        overdue_at: the time of `monotonic` at which the worker is overdue.
    """

    cell: Cell
    limit_seconds: float
    overdue_at: float


@dataclass
class Attempt:
    """A job that a worker is running.

    Args:
        job: the whole job; each of its `cells`, if it has any, needs a record.
        max_attempts: the number of workers that one cell may use up.
        losses: key of a cell -> the number of workers that were lost while they worked on it.
        recorded_keys: keys of the cells whose records have arrived.
        phase: the phase that the worker is in.
        cell: the cell that the worker is working on; None for what all cells need.
        limit: the time limit that is running; None if none is.
    """

    job: Any
    max_attempts: int = 2
    losses: Counter[str] = field(default_factory=Counter)
    recorded_keys: set[str] = field(default_factory=set)
    phase: str = ""
    cell: Cell | None = None
    limit: CellLimit | None = None

    def update(self, kind: str, content: Any) -> None:
        """Update the attempt from a message."""
        if kind == "phase":
            self.phase = content
        elif kind == "cell":
            self.cell = content
        elif kind == "limited" and content is None:
            self.limit = None
        elif kind == "limited":
            cell, limit_seconds, left_seconds = content
            self.limit = CellLimit(cell, limit_seconds, monotonic() + left_seconds + GRACE_SECONDS)
        elif kind == "record":
            self.recorded_keys.add(content.key)
            self.cell = None

    @property
    def is_overdue(self) -> bool:
        """Whether the worker is well past a time limit that it should have enforced itself."""
        return self.limit is not None and monotonic() > self.limit.overdue_at

    @property
    def remaining_cells(self) -> tuple[Cell, ...]:
        """The cells without a record, largest ratio first, as in a sweep."""
        cells: Sequence[Cell] = getattr(self.job, "cells", ())
        left = (cell for cell in cells if cell.key not in self.recorded_keys)
        return tuple(sorted(left, key=lambda cell: -cell.ratio))

    @property
    def remaining_job(self) -> Any:
        """The job with the cells that have no record yet."""
        return replace(self.job, cells=self.remaining_cells) if self.recorded_keys else self.job

    def after_loss(self, why: str) -> tuple["Attempt | None", list[Record]]:
        """Return the next attempt, if there is one, and the failed records.

        Without a cell that the worker was working on, all remaining cells have failed.

        Args:
            why: how the worker was lost.
        """
        if getattr(self.job, "cells", ()) and not self.remaining_cells:
            return None, []
        key = self.cell.key if self.cell else ""
        self.losses[key] += 1
        count = self.losses[key]
        if count < self.max_attempts:
            return self._next(), []
        error = PluginError(f"{why}, {'twice' if count == 2 else f'{count} times'}")
        cells = (self.cell,) if self.cell else self.remaining_cells
        return self._fail(cells, error)

    def _next(self) -> "Attempt":
        return replace(self, phase="", cell=None, limit=None)

    def _fail(
        self, cells: Sequence[Cell], error: PluginError
    ) -> tuple["Attempt | None", list[Record]]:
        """Return the attempt at the other cells, if any, and the failed records of these."""
        self.recorded_keys.update(cell.key for cell in cells)
        records = [failed_record(cell, error, phase=self.phase) for cell in cells]
        return self._next() if self.remaining_cells else None, records

    def after_timeout(self) -> tuple["Attempt | None", list[Record]]:
        """Return the attempt at the other cells, and the failed record of the overdue cell.

        The worker has been killed because the cell was overdue.
        """
        if self.limit is None:
            return self, []
        return self._fail((self.limit.cell,), TimeLimitExceeded(self.limit.limit_seconds))

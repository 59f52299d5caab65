"""What went wrong, as rows: the record of a cell that failed, and what becomes of a job whose worker was lost.

A process can be killed from outside, most often by the system for want of memory. Its job is run
again once, for the cells that have no record yet; if that worker is lost too, those cells are
failed rows. All other jobs go on. Every executor whose workers can be lost keeps one `Attempt` for
each job in their hands.
"""

import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import torch

from bench.contract import Budget
from bench.errors import BenchError, PluginError, one_line
from bench.records import Cell, Record, refusal
from bench.runner.progress import Progress
from bench.runner.time_limit import OutOfTime

LATE_SECONDS = 10.0  # above a time limit that the worker itself should have kept
LONGEST_ENTRY = 10_000  # letters of a traceback's entry: an error may quote anything
TOLD = 3  # of the reasons, in a summary
PHASE = "prunebench_phase"  # where an error says in which phase it was raised
NO_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc")


class Phases:
    """What is being done, for the rows of cells that fail.

    Args:
        progress: is told too, so that an executor knows where a worker was lost.
    """

    def __init__(self, progress: Progress) -> None:
        self._open, self._progress = [""], progress

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """What is raised inside belongs to this phase, or to one that is opened inside."""
        self._open.append(name)
        self._progress.phase(name)
        try:
            yield
        except BaseException as error:
            vars(error).setdefault(PHASE, name)
            raise
        finally:
            self._open.pop()
            self._progress.phase(self._open[-1])


def failed(
    cell: Cell, error: BaseException, budget: Budget | None = None, phase: str = ""
) -> Record:
    """The row of a cell that ended in an error.

    Args:
        cell: the question.
        error: what it ended in.
        budget: in bytes, if it was known.
        phase: in which it happened, unless the error says so.
    """
    reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    if wants_memory(error):
        reason = f"out of memory ({reason}); a smaller patch or batch of the recipe needs less"
    said = getattr(error, PHASE, "") or getattr(error.__cause__, PHASE, "") or phase
    lines = [
        line[:LONGEST_ENTRY].encode(errors="replace").decode()
        for line in traceback.format_exception(error)
    ]
    return Record(
        cell,
        "failed",
        one_line(reason),
        said,
        budget_bytes=budget.peak_bytes if budget else None,
        environment={"traceback": lines},
    )


def wants_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: PyTorch has a class of its own for that only on a GPU."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def summary(records: Sequence[Record]) -> str:
    """How many have failed and the first of them, as one line; nothing if none has."""
    reasons = [
        f"{_place(record.cell)}{refusal('', record.phase, record.reason)}"
        for record in records
        if record.status == "failed"
    ]
    more = f"; and {len(reasons) - TOLD} more" if len(reasons) > TOLD else ""
    return (
        f"{len(reasons)} of {len(records)} cells failed: {'; '.join(reasons[:TOLD])}{more}"
        if reasons
        else ""
    )


def _place(cell: Cell) -> str:
    return f"{cell.label} ratio {cell.ratio:g} seed {cell.seed}"


def how_it_ended(exit_code: int | None) -> str:
    """Why a worker is no longer there.

    Args:
        exit_code: of its process: below 0 the signal that killed it.
    """
    if exit_code is None or exit_code >= 0:
        return f"the worker ended by itself with exit code {exit_code}"
    hint = ", perhaps for want of memory" if -exit_code == getattr(signal, "SIGKILL", 9) else ""
    return f"the worker was killed by signal {-exit_code}{hint}"


@dataclass
class Attempt:
    """A job in the hands of a worker.

    Args:
        job: the whole; its `cells`, if it has any, want a record each.
        allowed: how many workers it may take.
        number: 1 for the first.
        answered: keys of the cells whose records have arrived.
        phase: what the worker is doing.
        limit: the cell whose time runs, how long that is, and when it will be well past; None where
            no time runs.
    """

    job: Any
    allowed: int = 2
    number: int = 1
    answered: set[str] = field(default_factory=set)
    phase: str = ""
    limit: tuple[Cell, float, float] | None = None

    def hears(self, kind: str, content: Any) -> bool:
        """Keeps what a worker says of itself; whether that was all there is to it."""
        if kind == "phase":
            self.phase = content
        elif kind == "limited":
            self.limit = (
                None if content is None else (*content[:2], monotonic() + content[2] + LATE_SECONDS)
            )
        elif kind == "record":
            self.answered.add(content.key)
        return kind in ("phase", "limited")

    @property
    def is_late(self) -> bool:
        """Whether a time limit is well past that the worker should have kept."""
        return self.limit is not None and monotonic() > self.limit[2]

    @property
    def unanswered(self) -> tuple[Cell, ...]:
        """The cells without a record, largest ratio first, as a sweep serves them."""
        cells: Sequence[Cell] = getattr(self.job, "cells", ())
        return tuple(
            sorted(
                (cell for cell in cells if cell.key not in self.answered),
                key=lambda cell: -cell.ratio,
            )
        )

    @property
    def rest(self) -> Any:
        """The job that is to be run now."""
        return replace(self.job, cells=self.unanswered) if self.answered else self.job

    def lost(self, why: str) -> tuple["Attempt | None", list[Record]]:
        """The worker is gone, and `why`: the attempt that comes next, or the failed records of the cells that are left."""
        if getattr(self.job, "cells", ()) and not self.unanswered:
            return None, []
        if self.number < self.allowed:
            return Attempt(self.job, self.allowed, self.number + 1, self.answered), []
        error = PluginError(f"{why}; {'twice' if self.number == 2 else f'{self.number} times'}")
        return None, [failed(cell, error, phase=self.phase) for cell in self.unanswered]

    def late(self) -> tuple["Attempt | None", list[Record]]:
        """The worker is killed, for a cell is late: the attempt at the others, and the failed record of this one."""
        if self.limit is None:
            return self, []
        cell, limit_seconds, _ = self.limit
        self.answered.add(cell.key)
        rest = (
            Attempt(self.job, self.allowed, self.number, self.answered) if self.unanswered else None
        )
        return rest, [failed(cell, OutOfTime(limit_seconds), phase=self.phase)]

"""What went wrong, as rows: the record of a cell that failed, and what becomes of a job whose worker was lost.

A process can be killed from outside, most often by the system for want of memory. Its job is run again once, for the cells that have no
record yet; if that worker is lost too, those cells are failed rows. All other jobs go on. Every executor whose workers can be lost keeps
one `Attempt` for each job in their hands.
"""

import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.cell import Cell, Record
from bench.contract import Budget
from bench.errors import BenchError, PluginError

ATTEMPTS = 2


def failed(cell: Cell, error: BaseException, budget: Budget | None = None, phase: str = "") -> Record:
    """The row of a cell that ended in an error.

    Args:
        cell: the question.
        error: what it ended in.
        budget: in bytes, if it was known.
        phase: in which it happened.
    """
    reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    environment = {"traceback": traceback.format_exception(error)}
    return Record(cell, "failed", one_line(reason), phase, budget_bytes=budget.peak_bytes if budget else None, environment=environment)


def one_line(text: str) -> str:
    """The text with single spaces."""
    return " ".join(text.split())


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
        job: its `cells`, if it has any, want a record each.
        number: 1 for the first.
        answered: keys of the cells whose records have arrived.
    """

    job: Any
    number: int = 1
    answered: set[str] = field(default_factory=set)

    @property
    def unanswered(self) -> tuple[Cell, ...]:
        """The cells without a record, largest ratio first, as a sweep serves them."""
        cells: Sequence[Cell] = getattr(self.job, "cells", ())
        return tuple(sorted((cell for cell in cells if cell.key not in self.answered), key=lambda cell: -cell.ratio))

    def lost(self, why: str, phase: str = "") -> tuple["Attempt | None", list[Record]]:
        """The worker is gone: the attempt that comes next, or the failed records of the cells that are left.

        Args:
            why: how it went.
            phase: what it was in.
        """
        if getattr(self.job, "cells", ()) and not self.unanswered:
            return None, []
        if self.number < ATTEMPTS:
            return self._again(self.number + 1), []
        error = PluginError(f"{why}; twice")
        return None, [failed(cell, error, phase=phase) for cell in self.unanswered]

    def _again(self, number: int) -> "Attempt":
        return Attempt(replace(self.job, cells=self.unanswered) if self.unanswered else self.job, number)

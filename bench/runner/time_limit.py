"""How long a cell may take, kept by a timer of the system, whose signal reaches the main thread of the process that works.

Time runs while a method or the harness works for a cell: the work that a sweep shares counts for
the budget that waits for it, the pretraining of the unpruned network for none. What the timer
raises is no `Exception`, so that no method takes it for an error of its own. A call of a library
that never comes back to Python does not see it; `bench.runner.executors.processes` kills such a
worker.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import monotonic
from types import FrameType

from bench.errors import PluginError
from bench.files.log import LOG
from bench.records import Cell
from bench.runner.progress import Progress
from bench.units import format_duration

LEAST_SECONDS, MOST_SECONDS = 0.001, 1e8  # a timer of 0 is none, and one of many years an error
AGAIN_SECONDS = 30.0  # it rings again: where Python cannot raise (in a destructor), a ring is lost


class OutOfTime(PluginError):
    """A cell has used up its time.

    Args:
        limit_seconds: that it had.
    """

    def __init__(self, limit_seconds: float) -> None:
        limit = f"{limit_seconds:g} s" if limit_seconds < 90 else format_duration(limit_seconds)
        super().__init__(f"it ran past the time limit of {limit}")


class Allowance:
    """The time that a cell has left.

    Args:
        limit_seconds: for each cell; None for any.
        progress: is told when time begins and ceases to run.
    """

    def __init__(self, limit_seconds: float | None, progress: Progress) -> None:
        self._limit, self._left, self._progress = limit_seconds, limit_seconds or 0.0, progress

    def renew(self) -> None:
        """Another cell begins."""
        self._left = self._limit or 0.0

    @contextmanager
    def running(self, cell: Cell) -> Iterator[None]:
        """Time runs inside. Raises OutOfTime when there is none left."""
        if self._limit is None:
            yield
            return
        begun = monotonic()
        self._progress.limited(cell, self._limit, self._left)
        try:
            with _timer(self._left):
                yield
        except _Rings as rings:
            raise OutOfTime(self._limit) from rings
        finally:
            self._left = max(0.0, self._left - (monotonic() - begun))
            self._progress.unlimited()


class _Rings(BaseException):
    """The timer."""


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    """Raises _Rings inside after so many seconds."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        _say_that_there_is_none()
        yield
        return
    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        if armed:
            raise _Rings

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(
            signal.ITIMER_REAL, min(max(seconds, LEAST_SECONDS), MOST_SECONDS), AGAIN_SECONDS
        )
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


@cache
def _say_that_there_is_none() -> None:
    LOG.warning(
        "the time limit is not kept here: it needs the timer signal of a Unix system, in the main thread of a process"
    )

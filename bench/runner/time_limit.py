"""The time limit of a cell, enforced by a timer of the system.

The timer's signal reaches the main thread of the process that works. Time is counted while a method
or the harness works for a cell: work that a sweep shares counts for the budget that waits for it,
the pretraining of the unpruned network for none. The timer raises an exception that is no
`Exception`, so that no method takes it for an error of its own. A call of a library that never
returns to Python does not notice it; `bench.runner.executors.processes` kills such a worker.
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
from bench.graph.tracing import is_tracing
from bench.records import Cell
from bench.runner.progress import Progress
from bench.units import format_duration

MIN_TIMER_SECONDS = 0.001  # a timer of 0 is switched off
MAX_TIMER_SECONDS = 1e8  # one of many years is an error
REPEAT_SECONDS = 30.0  # a signal is lost where Python cannot raise, as in a destructor
TRACING_SECONDS = 0.001  # until the timer asks again whether a trace is over


class TimeLimitExceeded(PluginError):
    """A cell has taken more time than its limit.

    Args:
        limit_seconds: its limit.
    """

    def __init__(self, limit_seconds: float) -> None:
        limit = f"{limit_seconds:g} s" if limit_seconds < 90 else format_duration(limit_seconds)
        super().__init__(f"it ran past the time limit of {limit}")


class Deadline:
    """Enforces the time limit of each cell, however often its work is taken up.

    Args:
        limit_seconds: for each cell; None for no limit.
        progress: told when the time of a cell starts and stops running.
    """

    def __init__(self, limit_seconds: float | None, progress: Progress) -> None:
        self._limit = limit_seconds
        self._left: dict[str, float] = {}  # key of a cell -> seconds
        self._progress = progress

    @contextmanager
    def enforce(self, cell: Cell) -> Iterator[None]:
        """Count the time of a cell inside the block.

        Raises TimeLimitExceeded when none is left.
        """
        if self._limit is None:
            yield
            return
        start = monotonic()
        left = self._left.get(cell.key, self._limit)
        self._progress.on_limit(cell, self._limit, left)
        try:
            with _timer(left):
                yield
        except _TimerExpired as expired:
            raise TimeLimitExceeded(self._limit) from expired
        finally:
            self._left[cell.key] = max(0.0, left - (monotonic() - start))
            self._progress.on_limit_end()


class _TimerExpired(BaseException):
    """Raised by the timer; no `Exception`, so that methods do not catch it."""


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    """Raise _TimerExpired inside the block after some seconds."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or not hasattr(signal, "setitimer"):
        _warn_no_timer()
        yield
        return
    armed = True
    postponed = False

    def expire(number: int, frame: FrameType | None) -> None:
        nonlocal postponed
        if armed and is_tracing():  # a trace is short, and must not be interrupted
            postponed = True
            signal.setitimer(signal.ITIMER_REAL, TRACING_SECONDS, REPEAT_SECONDS)
        elif armed:
            raise _TimerExpired

    before = signal.signal(signal.SIGALRM, expire)
    first = min(max(seconds, MIN_TIMER_SECONDS), MAX_TIMER_SECONDS)
    try:
        signal.setitimer(signal.ITIMER_REAL, first, REPEAT_SECONDS)
        yield
        if postponed:  # the block has ended before the timer asked again
            raise _TimerExpired
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


@cache
def _warn_no_timer() -> None:
    LOG.warning(
        "the time limit is not enforced here: it needs the timer signal of a Unix system, "
        "in the main thread of a process"
    )

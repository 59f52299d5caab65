"""How long a run will still take: a forecast that is corrected by what finished, and smoothed.

    left    = slowness * (forecast of the cells that are left)
              - min(time since the last record, slowness * (forecast of one of them))
    e_raw   = now + left                                       the end, as it looks now
    e      += (1 - exp(-dt / SMOOTHING_SECONDS)) (e_raw - e)   the end that is shown

Slowness is the time that the finished cells took, divided by their forecast. It starts at 1 and
moves with the share of the work that is done: one short cell says little.
"""

import math
from collections.abc import Callable, Mapping
from time import perf_counter

SMOOTHING_SECONDS = 30.0
PRIOR_SHARE = 0.1  # of the whole forecast; counts as work that took as long as forecast


class RemainingTime:
    """The time until the end of a run.

    Args:
        expected_seconds: key -> forecast, for each cell that will run.
        shared_seconds: forecast of the work that comes first.
        clock: returns seconds.
    """

    def __init__(
        self,
        expected_seconds: Mapping[str, float],
        shared_seconds: float,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._left = dict(expected_seconds)
        self._shared = shared_seconds
        self._clock = clock
        self._expected = self._taken = PRIOR_SHARE * (sum(self._left.values()) + shared_seconds)
        self._since = self._asked = clock()
        self._end = -math.inf  # that was shown last

    @property
    def cells_left(self) -> int:
        """The number of cells without a record."""
        return len(self._left)

    def note_record(self, key: str) -> None:
        """Note that a cell is finished."""
        now = self._clock()
        self._expected += self._left.pop(key, 0.0) + self._shared
        self._shared = 0.0
        self._taken += now - self._since
        self._since = now

    def seconds(self) -> float:
        """Return the seconds that are left; 0 if the present cells take longer than expected."""
        now = self._clock()
        slowness = self._taken / self._expected if self._expected > 0 else 1.0
        cells = sum(self._left.values()) * slowness
        shared = self._shared * slowness
        # The cells that have not begun are still to come, however long the present one takes.
        present = shared + cells / max(1, len(self._left))
        left = cells + shared - min(now - self._since, present)
        if left <= 0:
            return 0.0
        if self._end <= now:  # nothing to continue from
            self._end = now + left
        weight = 1 - math.exp(-(now - self._asked) / SMOOTHING_SECONDS)
        self._end += weight * (now + left - self._end)
        self._asked = now
        return self._end - now

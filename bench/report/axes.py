"""Where values stand on an axis, and which of them are its ticks.

The quality axis is stretched towards the best rows. Rows that lost the picture are decibels behind,
and on a linear axis they press the rows that matter into one line. Here the distance to the top
counts by its logarithm, as values do on a logarithmic axis.
"""

from collections.abc import Callable, Sequence
from math import ceil, log2, log10
from typing import NamedTuple

ROOM_DB = 0.3  # above the best value
SOFTNESS_DB = 0.5  # nearer to the top than this, the axis is not stretched further
FINE_DB = 2.0  # so far from the top, half decibels may be ticks


class Axis(NamedTuple):
    """How values map to positions, in which the axis is linear.

    Args:
        position: where a value stands.
        value: what stands at a position.
        ticks: (low, high, count) -> round values, about `count` from low to high, perhaps more
            beyond.
    """

    position: Callable[[float], float]
    value: Callable[[float], float]
    ticks: Callable[[float, float, int], Sequence[float]]


def _linear_ticks(low: float, high: float, count: int) -> Sequence[float]:
    from matplotlib.ticker import MaxNLocator

    return list(MaxNLocator(count).tick_values(low, high))


def _logarithmic_ticks(low: float, high: float, count: int) -> Sequence[float]:
    from matplotlib.ticker import LogLocator

    return list(LogLocator(subs=(1, 2, 5)).tick_values(low, high))


LINEAR = Axis(float, float, _linear_ticks)
LOGARITHMIC = Axis(log10, lambda position: 10.0**position, _logarithmic_ticks)  # of values above 0


def quality_axis(values_db: Sequence[float]) -> Axis:
    """Return an axis of PSNR with a little room above the best value; what is higher is cut."""
    top_db = max(values_db) + ROOM_DB

    def position(psnr_db: float) -> float:
        return -log2(max(top_db - psnr_db, 0.0) + SOFTNESS_DB)

    def value(position: float) -> float:
        return float(top_db + SOFTNESS_DB - 2**-position)

    def ticks(low_db: float, high_db: float, count: int) -> Sequence[float]:
        gap = (position(high_db) - position(low_db)) / count
        chosen: list[float] = []
        for half in range(int(2 * high_db), ceil(2 * low_db) - 1, -1):
            psnr_db = half / 2
            is_round = half % 2 == 0 or top_db - psnr_db < FINE_DB
            if is_round and (not chosen or position(chosen[-1]) - position(psnr_db) >= gap):
                chosen.append(psnr_db)
        return chosen

    return Axis(position, value, ticks)

"""Sensitivity (Eq. 2b): by how much the loss rises per removed channel of a unit.

The least important j channels of unit u are masked, for at most three values of j up to n_u, and a
line through the origin is fitted to the rises of the loss:

    s_u = sum_j j dL_j / sum_j j**2,    dL_j = L(j channels masked) - L(now)

A negative slope (removal helps, within noise) would let the integer program remove all it may, so
s_u is at least a thousandth of the median |s|.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from statistics import median

from bench.errors import PluginError

# Of (unit, count): the loss with the `count` least important channels of the unit masked.
Loss = Callable[[str, int], float]


def sensitivities(
    loss: Loss, loss_now: float, limits: Mapping[str, int], points: int = 3
) -> dict[str, float]:
    """Return s_u > 0 of each unit.

    Args:
        loss: measures L with some channels of one unit masked.
        loss_now: L with none of them masked.
        limits: unit -> n_u, the most channels to mask.
        points: for how many j the loss of a unit is measured.

    Raises:
        PluginError: a loss is not a finite number.
    """
    slopes = {
        unit: _fit_slope(
            {count: loss(unit, count) - loss_now for count in sample_counts(limit, points)}
        )
        for unit, limit in limits.items()
    }
    for unit, slope in slopes.items():
        if not isfinite(slope):
            raise PluginError(
                f"mosp: the loss is {loss_now}, and rises by {slope} per channel removed from "
                f"'{unit}'; both must be finite: look for NaN or overflow in the network"
            )
    least = 1e-3 * median(abs(slope) for slope in slopes.values()) or 1e-12
    return {unit: max(slope, least) for unit, slope in slopes.items()}


def sample_counts(limit: int, points: int) -> list[int]:
    """Return at most `points` counts up to `limit`, each half of the next: 8 gives 2, 4, 8."""
    return sorted({max(1, limit // 2**halvings) for halvings in range(points)})


def _fit_slope(rises: Mapping[int, float]) -> float:
    """Return the slope of the least-squares line through the origin."""
    return sum(count * rise for count, rise in rises.items()) / sum(count**2 for count in rises)

"""Sensitivity (Eq. 2b): how much the loss rises per removed channel of a unit, by numeric differentiation.

For unit u the j least important channels are masked, for at most three j up to n_u, and a line
through the origin is fitted:

    s_u = sum_j j dL_j / sum_j j**2,    dL_j = L(j channels masked) - L(now)

A negative slope (removing helps, within noise) would let the integer program empty the whole box,
so s_u is at least a thousandth of the median |s|.
"""

from collections.abc import Callable, Mapping
from statistics import median

Loss = Callable[
    [str, int], float
]  # the loss with the `count` least important channels of a unit masked


def sensitivities(
    loss: Loss, loss_now: float, boxes: Mapping[str, int], points: int = 3
) -> dict[str, float]:
    """Unit -> s_u > 0.

    Args:
        loss: measures L with some channels of one unit masked.
        loss_now: L with none of them masked.
        boxes: unit -> n_u, the most channels to try.
        points: how many j to try for a unit.
    """
    slopes = {
        unit: _slope({count: loss(unit, count) - loss_now for count in sample(box, points)})
        for unit, box in boxes.items()
    }
    least = 1e-3 * median(abs(slope) for slope in slopes.values()) or 1e-12
    return {unit: max(slope, least) for unit, slope in slopes.items()}


def sample(box: int, points: int) -> list[int]:
    """At most `points` counts up to and with `box`, each half of the next: 8 gives 2, 4, 8."""
    return sorted({max(1, box // 2**halvings) for halvings in range(points)})


def _slope(rises: Mapping[int, float]) -> float:
    """Least squares through the origin."""
    return sum(count * rise for count, rise in rises.items()) / sum(count**2 for count in rises)

"""Learning curves: how loss and quality change while a network is trained.

A record has them thinned: points enough to see whether a network was still getting better.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean

LOSS_POINTS = 50  # of a phase
QUALITY_POINTS = 10  # each costs a pass over the calibration crops
Curve = list[list[float]]  # (steps done, value), rising in steps


def thin_losses(losses: Sequence[float]) -> Curve:
    """Return at most LOSS_POINTS points: the mean loss of the steps since the point before."""
    stride = max(1, math.ceil(len(losses) / LOSS_POINTS))
    ends = [min(start + stride, len(losses)) for start in range(0, len(losses), stride)]
    return [[end, float(f"{fmean(losses[start:end]):.5g}")] for start, end in pairwise([0, *ends])]


def append_points(
    curve: Curve, steps: int, measure: Callable[[], float]
) -> Callable[[int, float], None]:
    """Return a callback for `fit` that measures a network about QUALITY_POINTS times.

    Args:
        curve: gets the points, the last one after the last step; what it holds is kept, and its
            last point is where these steps begin.
        steps: of the training.
        measure: returns the value of a point.
    """
    before = int(curve[-1][0]) if curve else 0
    stride = max(1, steps // QUALITY_POINTS)

    def after_step(index: int, rate: float) -> None:
        if (index + 1) % stride == 0 or index + 1 == steps:
            curve.append([before + index + 1, measure()])

    return after_step

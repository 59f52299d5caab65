"""The largest member of a monotone family of widths that fits a budget.

Every method with one knob (a ratio, a threshold, a place in a sorted list) is such a family: the peak never falls as the knob rises.
"""

from collections.abc import Callable

from bench.contract import Budget, Widths
from bench.memory.peak_model import PeakModel, impossible


def largest_fitting(family: Callable[[int], Widths], size: int, peaks: PeakModel, budget: Budget) -> int:
    """The largest knob position in [0, size) whose widths fit the budget, by bisection.

    Raises:
        Infeasible: position 0 does not fit.
    """
    least = peaks.peak_bytes(family(0))
    if least > budget.peak_bytes:
        raise impossible(budget, least)
    fits, exceeds = 0, size
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        if peaks.peak_bytes(family(middle)) <= budget.peak_bytes:
            fits = middle
        else:
            exceeds = middle
    return fits

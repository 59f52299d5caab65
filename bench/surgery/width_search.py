"""Families of widths with one knob, each fitted exactly: the next position of its knob breaks the budget.

    uniform      w_u = max(w_min, floor(c_u k / n)),  n = min c_u,  k = 1 ... n          (quantum: one step of k)
    one list     the channels of all units in one list by their scores, the shortest fitting prefix is removed     (quantum: one channel)

Of a monotone family (the peak never falls as the knob rises) the largest member that fits is found
by bisection. No family tops up what is left of a budget by another criterion.
"""

from collections.abc import Callable

import torch

from bench.contract import Budget, Widths
from bench.memory.peak_model import PeakModel, floor_widths, impossible
from bench.surgery.analysis import NetworkAnalysis
from bench.surgery.importance import Scores


def positions(body: NetworkAnalysis) -> int:
    """n: the positions of the uniform knob.

    Where channels double from level to level, every width is an exact multiple.
    """
    return min((width for width in body.widths.values() if width > 1), default=1)


def scaled(
    body: NetworkAnalysis, position: int, min_width: int, of: int | None = None
) -> dict[str, int]:
    """Unit -> width with `position` of n parts of its channels, or of `of` parts."""
    parts = of or positions(body)
    return {
        unit: max(min(min_width, full), full * position // parts)
        for unit, full in body.widths.items()
    }


def uniform_widths(body: NetworkAnalysis, budget: Budget, min_width: int) -> dict[str, int]:
    """The largest uniform scale that fits. Raises Infeasible if the smallest does not."""
    knob = largest_fitting(
        lambda index: scaled(body, index + 1, min_width), positions(body), body.peaks, budget
    )
    return scaled(body, knob + 1, min_width)


def global_ranking_widths(
    scores: Scores, body: NetworkAnalysis, budget: Budget, min_width: int
) -> dict[str, int]:
    """Widths after the shortest fitting prefix of one list over all units; a unit keeps its `min_width` best channels.

    Ties go by unit, then by channel. Raises Infeasible if removing all but the floor does not fit.
    """
    floor = floor_widths(body.widths, min_width)
    queues = [removable(scores[unit], floor[unit]) for unit in body.widths]
    owners = torch.cat([torch.full((len(queue),), column) for column, queue in enumerate(queues)])
    order = owners[torch.cat(queues).argsort(stable=True)]

    def widths(stay: int) -> dict[str, int]:
        gone = order[: len(order) - stay].bincount(minlength=len(queues)).tolist()
        return {
            unit: full - count
            for (unit, full), count in zip(body.widths.items(), gone, strict=True)
        }

    return widths(largest_fitting(widths, len(order) + 1, body.peaks, budget))


def removable(scores: torch.Tensor, floor: int) -> torch.Tensor:
    """The scores of a unit, ascending, without the `floor` channels that must stay."""
    return scores.sort().values[: len(scores) - floor]


def largest_fitting(
    family: Callable[[int], Widths], size: int, peaks: PeakModel, budget: Budget
) -> int:
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

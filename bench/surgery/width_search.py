"""Search of widths in families with one parameter, each as large as the budget allows.

    uniform           w_u = max(w_min, floor(c_u k / n)),  k = 1 ... n;  n = max c_u over units
                      alive at the peak (quantum: one step of k), or over all units where k = 1
                      does not fit
    global ranking    all channels of all units in one list by their scores; the shortest prefix
                      whose removal fits is removed     (quantum: one channel)

The families are monotone: the peak never falls as the position rises. So the largest member that
fits is found by bisection, and the next position breaks the budget. No family fills what is left of
a budget by another criterion.
"""

from collections.abc import Callable

import torch

from bench.contract import Budget, Widths
from bench.memory.groups import peak_group
from bench.memory.peak_model import PeakModel, compute_min_widths, infeasible_budget
from bench.surgery.analysis import NetworkAnalysis
from bench.surgery.importance import ChannelScores


def count_positions(analysis: NetworkAnalysis) -> int:
    """Return n, the number of positions of the uniform scale.

    It is the largest width of a unit alive at the peak. In a U-Net these are the narrowest units,
    so every width is an exact multiple. Where units are narrower (heads of attention, four channels
    before a PixelUnshuffle), their widths would make the steps coarse.
    """
    group = peak_group(analysis.peak_model, analysis.widths)
    return max(analysis.widths[unit] for unit in group.per_channel or analysis.widths)


def scale_widths(
    analysis: NetworkAnalysis, position: int, min_width: int, parts: int | None = None
) -> dict[str, int]:
    """Return the widths with a share `position` / `parts` of each unit's channels.

    Args:
        analysis: of the network, from `analyse_network`.
        position: numerator of the share.
        min_width: the least width of a unit.
        parts: denominator of the share, `count_positions(analysis)` if not given.

    Returns:
        Unit -> width.
    """
    parts = parts or count_positions(analysis)
    return {
        unit: max(min(min_width, full), full * position // parts)
        for unit, full in analysis.widths.items()
    }


def uniform_widths(analysis: NetworkAnalysis, budget: Budget, min_width: int) -> dict[str, int]:
    """Return the widths of the largest uniform scale that fits.

    Args:
        analysis: of the network, from `analyse_network`.
        budget: the peak memory that the widths must not exceed.
        min_width: the least width of a unit.

    Returns:
        Unit -> width.

    Raises:
        Infeasible: the least widths do not fit.
    """
    size = count_positions(analysis)
    if analysis.peak_model.peak_bytes(scale_widths(analysis, 1, min_width)) > budget.peak_bytes:
        size = max(analysis.widths.values())  # the narrowest unit has kept its last channel

    def widths(index: int) -> dict[str, int]:
        return scale_widths(analysis, index + 1, min_width, size)

    return widths(find_largest_position(widths, size, analysis.peak_model, budget))


def global_ranking_widths(
    scores: ChannelScores, analysis: NetworkAnalysis, budget: Budget, min_width: int
) -> dict[str, int]:
    """Return the widths after removing the shortest prefix of one list of all channels that fits.

    Each unit keeps its `min_width` best channels. Ties are ordered by unit, then by channel.

    Args:
        scores: unit -> importance of each channel, (C,).
        analysis: of the network, from `analyse_network`.
        budget: the peak memory that the widths must not exceed.
        min_width: the least width of a unit.

    Returns:
        Unit -> width.

    Raises:
        Infeasible: the least widths do not fit.
    """
    min_widths = compute_min_widths(analysis.widths, min_width)
    queues = [removable_scores(scores[unit], min_widths[unit]) for unit in analysis.widths]
    owners = torch.cat([torch.full((len(queue),), index) for index, queue in enumerate(queues)])
    ranking = owners[torch.cat(queues).argsort(stable=True)]  # unit index, least important first

    def widths(kept_count: int) -> dict[str, int]:
        removed = ranking[: len(ranking) - kept_count].bincount(minlength=len(queues)).tolist()
        return {
            unit: full - count
            for (unit, full), count in zip(analysis.widths.items(), removed, strict=True)
        }

    return widths(find_largest_position(widths, len(ranking) + 1, analysis.peak_model, budget))


def removable_scores(scores: torch.Tensor, min_width: int) -> torch.Tensor:
    """Return the scores of a unit, ascending, without the `min_width` channels that must stay."""
    return scores.sort().values[: len(scores) - min_width]


def find_largest_position(
    family: Callable[[int], Widths], size: int, peak_model: PeakModel, budget: Budget
) -> int:
    """Return the largest position in [0, size) whose widths fit the budget, by bisection.

    Args:
        family: position -> widths; the peak never falls as the position rises.
        size: number of positions.
        peak_model: the linear memory model of the network.
        budget: the peak memory that the widths must not exceed.

    Raises:
        Infeasible: position 0 does not fit.
    """
    least = peak_model.peak_bytes(family(0))
    if least > budget.peak_bytes:
        raise infeasible_budget(budget, least)
    fits, exceeds = 0, size
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        if peak_model.peak_bytes(family(middle)) <= budget.peak_bytes:
            fits = middle
        else:
            exceeds = middle
    return fits

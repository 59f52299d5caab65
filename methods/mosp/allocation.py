"""The integer program of MOSP's inner step (Eq. 2c): the cheapest cut that frees enough memory.

    min_k  sum_u s_u k_u    subject to   sum_u m_u k_u >= need,   0 <= k_u <= n_u,   k_u integer

s_u is the rise of the loss per removed channel of unit u, m_u the bytes that a channel frees at the
time step, n_u the most channels that may go. Sensitivities are 1e-9 to 1e-3, and solvers take costs
below about 1e-7 for zero, so the objective is scaled by the cost U of a greedy cut, which the
optimum cannot exceed. A unit whose single channel costs more than U is in no optimal cut. Of equal
costs the unit with more bytes per channel is cut first, then the earlier one.
"""

import math
from collections.abc import Mapping

import numpy as np

from bench.errors import PluginError
from bench.surgery.integer_program import solve_cover

# Relative cost that orders ties: above the solver's resolution (1e-6), below what matters in a
# sensitivity.
TIE = 1e-5


def cheapest_cut(
    sensitivity: Mapping[str, float],
    per_channel: Mapping[str, int],
    limits: Mapping[str, int],
    need_bytes: int,
) -> dict[str, int]:
    """Return the number of channels to remove from each unit.

    Args:
        sensitivity: unit -> s_u > 0.
        per_channel: unit -> m_u, bytes.
        limits: unit -> n_u, the most channels that may go.
        need_bytes: to be freed; if all limits together free less, all of them are exhausted.

    Raises:
        PluginError: the solver finds no solution.
    """
    quantum = math.gcd(*(per_channel[unit] for unit in limits))
    # Round up to what can be freed: nothing lies between, and the solver's tolerance has no effect.
    need_bytes = -(-need_bytes // quantum) * quantum
    units = sorted(limits, key=lambda unit: -per_channel[unit])
    cost = np.array([sensitivity[unit] for unit in units], dtype=float)
    frees = np.array([per_channel[unit] for unit in units], dtype=float)
    most = np.array([limits[unit] for unit in units], dtype=int)
    if frees @ most <= need_bytes:
        return dict(limits)
    greedy = _cut_greedily(cost, frees, most, need_bytes)
    scaled = np.minimum(cost / (cost @ greedy), 2.0) * (1 + TIE * np.arange(len(units)))
    solution = solve_cover(scaled, frees[None] / need_bytes, most)
    if isinstance(solution, str):
        raise PluginError(f"mosp: the integer program has no answer: {solution}")
    cut = _trim_cut(solution, cost, frees, need_bytes)
    return {unit: int(count) for unit, count in zip(units, cut, strict=True) if count}


def _cut_greedily(cost: np.ndarray, frees: np.ndarray, most: np.ndarray, need: float) -> np.ndarray:
    """Return a cut that frees `need`, filled by cost per byte and without surplus.

    Its cost is an upper bound of the least cost.
    """
    cut = np.zeros_like(most)
    for unit in np.argsort(cost / frees, kind="stable"):
        missing = max(0.0, need - frees @ cut)
        cut[unit] = min(most[unit], int(np.ceil(missing / frees[unit])))
    return _trim_cut(cut, cost, frees, need)


def _trim_cut(cut: np.ndarray, cost: np.ndarray, frees: np.ndarray, need: float) -> np.ndarray:
    """Put back the channels that a cut does not need, those of the highest cost first, in place."""
    for unit in np.argsort(-cost, kind="stable"):
        surplus = max(0.0, frees @ cut - need)
        cut[unit] -= min(cut[unit], int(surplus // frees[unit]))
    return cut

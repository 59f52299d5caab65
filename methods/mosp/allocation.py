"""The integer program of MOSP's inner step (Eq. 2c): the cheapest cut that frees enough memory.

The only door to scipy here.

    min_k  sum_u s_u k_u    subject to   sum_u m_u k_u >= need,   0 <= k_u <= box_u,   k_u integer

s_u is the loss that rises per removed channel of unit u, m_u the bytes that it frees at the time
step. Sensitivities are 1e-9 to 1e-3, and solvers take costs below about 1e-7 for zero, so the
objective is scaled: by the cost U of a greedy cut, which the optimum cannot exceed. A unit whose
single channel costs more than U is in no optimal cut. Of equal costs the unit with more bytes a
channel goes first, then the earlier one.
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from bench.errors import PluginError

TIE = 1e-5  # relative cost that orders ties: above what the solver resolves (1e-6), below what a sensitivity means


def cheapest_cut(
    sensitivity: Mapping[str, float],
    per_channel: Mapping[str, int],
    boxes: Mapping[str, int],
    need_bytes: int,
) -> dict[str, int]:
    """Unit -> channels to remove.

    Args:
        sensitivity: unit -> s_u > 0.
        per_channel: unit -> m_u, bytes.
        boxes: unit -> the most channels that may go.
        need_bytes: what must be freed; if the boxes hold less, all of them are emptied.

    Raises:
        PluginError: the solver gives no answer.
    """
    quantum = math.gcd(*(per_channel[unit] for unit in boxes))
    need_bytes = (
        -(-need_bytes // quantum) * quantum
    )  # nothing can be freed in between, and the solver's tolerance cannot bite
    units = sorted(boxes, key=lambda unit: -per_channel[unit])
    cost = np.array([sensitivity[unit] for unit in units], dtype=float)
    frees = np.array([per_channel[unit] for unit in units], dtype=float)
    most = np.array([boxes[unit] for unit in units], dtype=int)
    if frees @ most <= need_bytes:
        return dict(boxes)
    greedy = _greedy(cost, frees, most, need_bytes)
    scaled = np.minimum(cost / (cost @ greedy), 2.0) * (1 + TIE * np.arange(len(units)))
    covers = LinearConstraint(frees[None] / need_bytes, 1.0)
    found = milp(
        scaled,
        constraints=covers,
        bounds=Bounds(0, most),
        integrality=np.ones_like(most),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise PluginError(f"mosp: the integer program has no answer: {found.message}")
    cut = _trim(np.rint(found.x).astype(int), cost, frees, need_bytes)
    return {unit: int(count) for unit, count in zip(units, cut, strict=True) if count}


def _greedy(cost: np.ndarray, frees: np.ndarray, most: np.ndarray, need: float) -> np.ndarray:
    """A cut that frees `need`, filled by cost per byte and without surplus: an upper bound of the least cost."""
    cut = np.zeros_like(most)
    for unit in np.argsort(cost / frees, kind="stable"):
        cut[unit] = min(most[unit], int(np.ceil(max(0.0, need - frees @ cut) / frees[unit])))
    return _trim(cut, cost, frees, need)


def _trim(cut: np.ndarray, cost: np.ndarray, frees: np.ndarray, need: float) -> np.ndarray:
    """Gives back channels that the cut does not need, the dearest first."""
    for unit in np.argsort(-cost, kind="stable"):
        surplus = max(0.0, frees @ cut - need)
        cut[unit] -= min(cut[unit], int(surplus // frees[unit]))
    return cut

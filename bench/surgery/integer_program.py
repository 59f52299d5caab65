"""Integer programs that cover needs at the least cost. The adapter to scipy outside of the reports.

min_x  sum_j c_j x_j    subject to   sum_j a_ij x_j >= 1 for every i,   0 <= x_j <= n_j
"""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp


def solve_cover(
    cost: np.ndarray, covers: np.ndarray, most: np.ndarray, gap: float = 0.0
) -> np.ndarray | str:
    """Return the whole numbers x of the cheapest cover, or the solver's message if it has none.

    Args:
        cost: (columns,), scaled: the solver takes costs below about 1e-7 for zero.
        covers: (rows, columns), the share of each need that one of each column covers.
        most: (columns,).
        gap: relative, that may lie between this cover and the cheapest one.
    """
    solution = milp(
        cost,
        constraints=LinearConstraint(covers, 1.0),
        bounds=Bounds(0, most),
        integrality=np.ones(len(cost), dtype=int),
        options={"mip_rel_gap": gap},
    )
    if solution.x is None:
        return str(solution.message)
    return np.rint(solution.x).astype(int)


def relaxed_prices(cost: np.ndarray, covers: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return the multiplier of each need, (rows,), where x need not be whole: what a need costs."""
    bounds = [(0.0, float(count)) for count in most]
    relaxed = linprog(cost, A_ub=-covers, b_ub=-np.ones(len(covers)), bounds=bounds)
    return -np.asarray(relaxed.ineqlin.marginals)

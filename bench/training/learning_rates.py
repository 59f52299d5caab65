"""Learning rates: one curve for pretraining, one for all training after it.

Equal steps are not equal training: where each phase has a schedule of its own, a method with many
short phases trains at higher rates than one with a single long phase. Under matched compute, all
steps after pretraining therefore lie on one curve of `matched_steps` steps, whatever phase spends
them: the search of a method, its adaptation and the harness's fine-tuning are places on it, and the
sum of the rates is the same for every method that takes no more steps; beyond the end of the curve
the last rate stays. Training from new weights has the pretraining curve, then the other one.

Without matched steps every phase is a curve of its own, and "search" stays at the first rate
without a warm-up, as in the papers.

    steps     rate * 0.5 ** floor(k (halvings + 1) / n)          step k of n
    cosine    rate * (1 + cos(pi k / n)) / 2
    warm-up   both times min(1, (k + 1) / warmup), for at most a quarter of the curve
"""

import math
from collections.abc import Sequence

from bench.contract import Curve, Phase, Recipe


def learning_rates(recipe: Recipe, phase: Phase, done: int, steps: int) -> Sequence[float]:
    """Return the learning rates of the next steps.

    Args:
        recipe: gives the curves.
        phase: of the steps.
        done: steps after pretraining that were spent before; only used with matched steps.
        steps: how many rates to return.
    """
    if phase == "pretrain":
        return _pretraining_curve(recipe, steps)
    if not recipe.matched_steps:
        return [recipe.tuning_rate] * steps if phase == "search" else _tuning_curve(recipe, steps)
    curve = _tuning_curve(recipe, recipe.matched_steps)
    return [curve[min(done + index, len(curve) - 1)] for index in range(steps)]


def _pretraining_curve(recipe: Recipe, steps: int) -> list[float]:
    return _curve(
        recipe.pretrain_rate,
        recipe.pretrain_curve,
        recipe.pretrain_halvings,
        recipe.pretrain_warmup,
        steps,
    )


def _tuning_curve(recipe: Recipe, steps: int) -> list[float]:
    return _curve(
        recipe.tuning_rate, recipe.tuning_curve, recipe.tuning_halvings, recipe.tuning_warmup, steps
    )


def _curve(rate: float, shape: Curve, halvings: int, warmup: int, steps: int) -> list[float]:
    """Return the rates of a whole curve."""
    rising = max(1, min(warmup, steps // 4))
    return [
        rate
        * min(1.0, (index + 1) / rising)
        * (
            (1 + math.cos(math.pi * index / steps)) / 2
            if shape == "cosine"
            else 0.5 ** (index * (halvings + 1) // steps)
        )
        for index in range(steps)
    ]

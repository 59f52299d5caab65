"""Alignment (SSA): layers whose outputs are added must lose the same channels, so let them agree on which before any is pressed.

    m_l = sigmoid(g_l - thr_l),     g_l = |gamma| of tied layer l, thr_l the smallest that stays
    agreement = mean over l, l' of <m_l - mean(m_l), m_l' - mean(m_l')> / C,     loss -= lambda agreement

The mean goes over all pairs, each layer with itself included; the threshold is not detached. What
it is for is measured by the hard sets: the Jaccard index of the channels that two layers would
keep, mean over pairs.

As published, masks are not centred. Then agreement rises fastest where thresholds fall below
everything else, and under Adam, which gives each gamma the same pace, that is all that happens: for
five layers of 64 random gammas (deviation 0.2) and no other loss, 1,000 steps at 1e-3 raise it from
0.25 to 0.40 and leave the overlap at 0.34. Centred, a gamma rises where the others keep its channel
and falls where they do not: the overlap is 0.86 after 200 steps. A phase of 64 steps that begins
with small ones does little (0.44 to 0.47 on a residual network of width 32); the diary says how
much.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from bench.surgery.importance import most_important


def agreement(strengths: Sequence[Tensor], width: int, centred: bool = True) -> Tensor:
    """A scalar in (0, 1): how much the soft masks of tied layers overlap.

    Args:
        strengths: (C,) of each layer.
        width: channels that stay.
        centred: take its mean from each mask.
    """
    masks = torch.stack(
        [torch.sigmoid(row - row.sort().values[len(row) - width]) for row in strengths]
    )
    if centred:
        masks = masks - masks.mean(1, keepdim=True)
    return (masks @ masks.T).mean() / masks.shape[1]


def jaccard(strengths: Sequence[Tensor], width: int) -> float:
    """In [0, 1]: shared part of the sets of `width` channels that two tied layers would keep, mean over pairs of layers."""
    sets = [set(most_important(row.detach(), width)) for row in strengths]
    shares = [len(one & other) / len(one | other) for one, other in combinations(sets, 2)]
    return sum(shares) / len(shares)

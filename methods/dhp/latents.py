"""The latents of the units during the search: how they start and shrink, and what they decide.

After each step of learning rate lr, every latent of a unit takes the proximal step

    z <- sign(z) max(|z| - lambda lr, 0)

lambda = shrinkage / sum of the learning rates, so that the proximal steps of a search that lasts to
its cap shorten a latent by `shrinkage`, whatever their number. A unit stops shrinking once no more
than `min_width` of its latents reach the threshold. The width of a unit is the number of those that
reach it, and at least `min_width`.

A channel is as important as its latent is long. Many latents end at exactly 0: of these, the ones
that arrived there first are the least important, as a search for a larger budget would have removed
them first.

Published latents start normal, so that shrinkage removes channels one by one. From a pretrained
network, the length of a latent is the half-normal quantile of its channel's rank of importance in
its unit, lifted to at least `LEAST_LATENT`:

    z_r = sqrt(q_r**2 + LEAST_LATENT**2),    q_r = sqrt(2) erfinv((r + 1/2) / C),    r = 0 ... C - 1

(Norms relative to the mean of the unit are all about 1, and would reach zero together.) A weight is
proportional to the product of two latents, a z, so that a step of the learning rate r changes it by
up to r / LEAST_LATENT, and one of B0 by up to r pace / LEAST_LATENT**2: by 2 and by 5 % at 2e-3.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.memory.peak_model import compute_min_widths

LEAST_LATENT = 0.1  # from a pretrained network


class Latents:
    """The latents of the units, which shrink.

    Args:
        values: all latents, those of the units first; changed in place.
        widths: unit -> number of its latents, in their order.
        min_width: how many latents of a unit (all, if it has fewer) stay large.
        threshold: a latent below it is small.
    """

    def __init__(
        self, values: Tensor, widths: Mapping[str, int], min_width: int, threshold: float
    ) -> None:
        self.values = values
        self.widths = widths
        self.threshold = threshold
        counts = torch.tensor(list(widths.values()))
        self.owners = torch.repeat_interleave(counts).to(values.device)
        min_widths = torch.tensor(list(compute_min_widths(widths, min_width).values()))
        self.min_widths = min_widths.to(values.device)
        self.steps_at_zero = torch.zeros(len(self.owners), device=values.device)

    @property
    def unit_latents(self) -> Tensor:
        """Return the latents that shrink, (slots,)."""
        return self.values.detach()[: len(self.owners)]

    def shrink(self, amount: float) -> None:
        """Take one proximal step of lambda lr = `amount`."""
        latents = self.unit_latents
        shorter = latents.sign() * (latents.abs() - amount).clamp_min(0)
        may_shrink = (self._count_large() > self.min_widths)[self.owners]
        latents.copy_(torch.where(may_shrink, shorter, latents))
        self.steps_at_zero.add_(1).mul_(latents == 0)

    def masked_widths(self) -> dict[str, int]:
        """Return the width of each unit without its small latents. It waits for the device."""
        widths = self._count_large().maximum(self.min_widths).tolist()
        return dict(zip(self.widths, widths, strict=True))

    def count_small(self) -> int:
        """Return how many latents are below the threshold."""
        return int((self.unit_latents.abs() < self.threshold).sum())

    def scores(self) -> dict[str, Tensor]:
        """Return the importance of each channel, unit -> (C,).

        It is the length of the latent; for a latent of 0, minus the steps since it arrived there.
        """
        scores = (self.unit_latents.abs() - self.steps_at_zero).cpu()
        return dict(zip(self.widths, scores.split(list(self.widths.values())), strict=True))

    def _count_large(self) -> Tensor:
        """Return how many latents of each unit reach the threshold, int64 (units,)."""
        is_large = (self.unit_latents.abs() >= self.threshold).to(self.min_widths.dtype)
        return torch.zeros_like(self.min_widths).index_add_(0, self.owners, is_large)


def spread_by_rank(scores: Tensor) -> Tensor:
    """Return the latents that the channels of a unit start with, by their importance, (C,)."""
    ranks = scores.argsort(stable=True).argsort()
    quantiles = 2**0.5 * torch.erfinv((ranks + 0.5) / len(scores))
    return torch.hypot(quantiles, torch.tensor(LEAST_LATENT))

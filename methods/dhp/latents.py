"""The latents of the units during the search: how they shrink, and the scores that they give.

After each step of learning rate lr, every latent of a unit takes the proximal step

    z <- sign(z) max(|z| - lambda lr, 0)

lambda = shrinkage / sum of the learning rates, so that the proximal steps of a whole search shorten
a latent by `shrinkage`, whatever their number. A unit stops shrinking once no more than `min_width`
of its latents reach the threshold.

A channel is as important as its latent is long. Many latents end at exactly 0: of these, the ones
that arrived there first are the least important, as a search that stops as soon as a network is
small enough would have removed them first.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.memory.peak_model import compute_min_widths


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
        is_large = (latents.abs() >= self.threshold).to(self.min_widths.dtype)
        large = torch.zeros_like(self.min_widths).index_add_(0, self.owners, is_large)
        shorter = latents.sign() * (latents.abs() - amount).clamp_min(0)
        latents.copy_(torch.where((large > self.min_widths)[self.owners], shorter, latents))
        self.steps_at_zero.add_(1).mul_(latents == 0)

    def count_small(self) -> int:
        """Return how many latents are below the threshold."""
        return int((self.unit_latents.abs() < self.threshold).sum())

    def scores(self) -> dict[str, Tensor]:
        """Return the importance of each channel, unit -> (C,).

        It is the length of the latent; for a latent of 0, minus the steps since it arrived there.
        """
        scores = (self.unit_latents.abs() - self.steps_at_zero).cpu()
        return dict(zip(self.widths, scores.split(list(self.widths.values())), strict=True))

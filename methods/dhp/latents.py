"""The latents of the units during the search: how they are shortened, and what they say of each channel.

    after each step of learning rate lr, for every latent of a unit:    z <- sign(z) max(|z| - lambda lr, 0)       (proximal step)

lambda = shrinkage / sum of the learning rates, so that the proximal steps of a whole search shorten
a latent by `shrinkage`, whatever their number. A unit stops shrinking once no more than `least` of
its latents reach the threshold.

A channel counts as much as its latent is long. Many end at exactly 0: of these, the ones that came
there first count least, as a search that stops as soon as a network is small enough would have
removed them first.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.memory.peak_model import floor_widths


class Latents:
    """Latents of units, which shrink.

    Args:
        values: all latents, those of the units first; changed in place.
        widths: unit -> its latents, in their order.
        least: how many of a unit (or all of it, if it has fewer) stay large.
        threshold: below it a latent is small.
    """

    def __init__(
        self, values: Tensor, widths: Mapping[str, int], least: int, threshold: float
    ) -> None:
        self.values, self.widths, self.threshold = values, widths, threshold
        counts = torch.tensor(list(widths.values()))
        self.owners = torch.repeat_interleave(counts).to(values.device)
        self.least = torch.tensor(list(floor_widths(widths, least).values())).to(values.device)
        self.steps_at_zero = torch.zeros(len(self.owners), device=values.device)

    @property
    def of_units(self) -> Tensor:
        """(places,): the latents that shrink."""
        return self.values.detach()[: len(self.owners)]

    def shrink(self, amount: float) -> None:
        """One proximal step, of lambda lr = `amount`."""
        latents = self.of_units
        large = torch.zeros_like(self.least).index_add_(
            0, self.owners, (latents.abs() >= self.threshold).to(self.least.dtype)
        )
        shorter = latents.sign() * (latents.abs() - amount).clamp_min(0)
        latents.copy_(torch.where((large > self.least)[self.owners], shorter, latents))
        self.steps_at_zero.add_(1).mul_(latents == 0)

    def small(self) -> int:
        """How many are below the threshold."""
        return int((self.of_units.abs() < self.threshold).sum())

    def scores(self) -> dict[str, Tensor]:
        """Unit -> (C,): the length of each latent; of one that is 0, minus the steps since it came there."""
        scores = (self.of_units.abs() - self.steps_at_zero).cpu()
        return dict(zip(self.widths, scores.split(list(self.widths.values())), strict=True))

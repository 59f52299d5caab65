"""The schedule of ASSL, and what it does to the training of a network at each step.

    steps    0           N_ssa                    N_ssa + N_growth              N
    free     | alpha grows for N_growth steps  | alpha_max                      |
    tied     | alignment | alpha grows for N_growth steps  | alpha_max          |

    alpha(t) = min(alpha_max, delta floor(t / interval)),     delta = alpha_max interval / N_growth
    t: steps since the growth began

A unit loses the channels that are the weakest when its growth begins, a tied unit those of its
first layer; they are not chosen again. Channels that stay have alpha = 0. Where no unit is tied, or
the channels were chosen by another criterion before the training, nothing is aligned, all units are
free, and alpha_max is held for longer.

The penalty alpha / 2 x**2 acts in one of two ways. Through Adam, as published: its gradient is
added to that of the task. But an Adam step is at most about the learning rate, whatever alpha is,
so a gamma of 1 takes a thousand steps at a rate of 1e-3 to vanish (the paper takes 160,000 at
2e-4). Decoupled, for schedules of any length: each step is followed by the minimiser of the penalty
near the point,

    x <- x / (1 + rate alpha)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Kept, Widths
from bench.surgery.importance import select_most_important
from methods.assl.alignment import agreement, mean_jaccard
from methods.assl.reparametrisation import Scales

ALIGNMENT_SHARE, GROWTH_SHARE = 0.10, 0.65


@dataclass(frozen=True)
class Schedule:
    """The steps of the phases, and the growth of alpha.

    Args:
        steps: N, of all phases.
        interval: steps between two rises.
        alpha_max: the largest alpha.
    """

    steps: int
    interval: int
    alpha_max: float

    @property
    def alignment_steps(self) -> int:
        """Return N_ssa."""
        return int(ALIGNMENT_SHARE * self.steps)

    @property
    def growth_steps(self) -> int:
        """Return N_growth."""
        return int(GROWTH_SHARE * self.steps)

    def alpha(self, step: int) -> float:
        """Return alpha of a channel to be removed, `step` steps after its growth began."""
        delta = self.alpha_max * self.interval / max(1, self.growth_steps)
        return min(self.alpha_max, delta * (step // self.interval))


class Regulariser:
    """Aligns tied layers and penalises channels, in one training through all phases.

    Args:
        scales: of the network that is trained.
        widths: unit -> channels that stay, of the units that lose some.
        schedule: of the phases.
        alignment_weight: lambda.
        decoupled: whether the penalty acts in a step of its own, or through Adam.
        centred: whether agreement is measured on centred masks.
        kept: unit -> the channels that stay, if they are chosen already; then nothing is aligned.

    Attributes:
        kept: unit -> the channels that stay, for the units whose growth has begun.
        tied: the units that are aligned: those that have more than one layer.
        notes: a line at the end of each phase, for the trace.
    """

    def __init__(
        self,
        scales: Scales,
        widths: Widths,
        schedule: Schedule,
        alignment_weight: float,
        *,
        decoupled: bool = True,
        centred: bool = True,
        kept: Kept | None = None,
    ) -> None:
        self.scales, self.widths, self.schedule = scales, widths, schedule
        self.alignment_weight = alignment_weight
        self.decoupled, self.centred = decoupled, centred
        self.kept: dict[str, Sequence[int]] = {}
        self.notes: list[str] = []
        self.tied = [
            unit for unit in widths if not kept and len(scales.layout.units[unit].layers) > 1
        ]
        self._step = 0
        self._penalised: list[tuple[int, Tensor]] = []  # step of a growth's start, mask of slots
        free = [unit for unit in widths if unit not in self.tied]
        self._start_growth(kept or self._select_strongest(free))
        self._overlap = self.overlap()
        if not schedule.alignment_steps:
            self._start_growth(self._select_strongest(self.tied))

    def penalty(self, network: nn.Module) -> Tensor:
        """Return the scalar that is added to the loss.

        It is the penalty, unless that is decoupled, minus the agreement during alignment.
        """
        if self.decoupled:
            penalty = torch.zeros((), device=self.scales.device)
        else:
            penalty = self.scales.penalty(self.coefficients())
        if self.tied and self._step < self.schedule.alignment_steps:
            penalty = penalty - self.alignment_weight * self.agreement()
        return penalty

    def after_step(self, index: int, rate: float) -> None:
        """Apply the decoupled penalty, then advance by one step, possibly to the next phase."""
        if self.decoupled:
            self.scales.shrink(1 / (1 + rate * self.coefficients()))
        self._step = index + 1
        if self.tied and self._step == self.schedule.alignment_steps:
            self.notes.append(
                f"aligned: tied layers would keep {self.overlap():.2f} in common, "
                f"{self._overlap:.2f} before"
            )
            self._start_growth(self._select_strongest(self.tied))
        phase = {
            self.schedule.alignment_steps + self.schedule.growth_steps: "grown",
            self.schedule.steps: "stabilised",
        }.get(self._step)
        if phase:
            alpha = float(self.coefficients().max())
            self.notes.append(
                f"{phase}: alpha {alpha:.2g}, "
                f"|gamma| of lost channels {self.gamma_ratio():.2g} of that of kept ones"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes from step to step."""
        starts, removed = zip(*self._penalised, strict=True)
        return {
            "step": self._step,
            "begun": list(starts),
            "gone": torch.stack(removed),
            "kept": self.kept,
            "notes": self.notes,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._step = state["step"]
        self.kept = state["kept"]
        self.notes = state["notes"]
        self._penalised = list(
            zip(state["begun"], state["gone"].to(self.scales.device), strict=True)
        )

    def coefficients(self) -> Tensor:
        """Return alpha of each slot at this step, (slots + 1,).

        The last one, of all channels that always stay, is zero.
        """
        alphas = [
            self.schedule.alpha(self._step - start) * removed for start, removed in self._penalised
        ]
        return torch.stack(alphas).sum(0)

    def agreement(self) -> Tensor:
        """Return the agreement of tied layers, a scalar, mean over tied units."""
        agreements = [
            agreement(self._strengths(unit), self.widths[unit], self.centred) for unit in self.tied
        ]
        return torch.stack(agreements).mean()

    def overlap(self) -> float:
        """Return the Jaccard index of what tied layers would keep, mean over tied units.

        It is 1 if there are none.
        """
        overlaps = [mean_jaccard(self._strengths(unit), self.widths[unit]) for unit in self.tied]
        return fmean(overlaps or [1.0])

    def gamma_ratio(self) -> float:
        """Return mean |gamma| of the penalised channels, divided by that of all others."""
        removed = torch.stack([mask for _, mask in self._penalised]).any(0)
        gammas, slots = zip(*map(self.scales.gammas, self.scales.layers), strict=True)
        sizes = torch.cat(gammas).detach().abs()
        is_removed = removed[torch.cat(slots)]
        return float(sizes[is_removed].mean() / sizes[~is_removed].mean())

    def _select_strongest(self, units: Sequence[str]) -> Kept:
        """Return the channels of these units that have the largest |gamma| in their first layer."""
        return {
            unit: select_most_important(self._strengths(unit)[0].detach(), self.widths[unit])
            for unit in units
        }

    def _start_growth(self, kept: Kept) -> None:
        """Penalise, from this step on, all other channels of these units."""
        self.kept |= kept
        removed = torch.from_numpy(~self.scales.layout.slot_mask(kept))
        self._penalised.append((self._step, removed.to(self.scales.device)))

    def _strengths(self, unit: str) -> list[Tensor]:
        """Return the strengths of each layer of a unit, (C,) each, in the order of execution."""
        layers = self.scales.layout.units[unit].layers
        return [self.scales.strengths(unit, layer) for layer in layers]

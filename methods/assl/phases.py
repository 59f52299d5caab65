"""The schedule of ASSL, and what it does to the training of a network at each step.

    steps    0           N_ssa                    N_ssa + N_growth              N
    free     | alpha grows for N_growth steps  | alpha_max                      |
    tied     | alignment | alpha grows for N_growth steps  | alpha_max          |

    alpha(t) = min(alpha_max, delta floor(t / interval)),     delta = alpha_max interval / N_growth,     t since the growth began

A unit loses the channels that are the weakest when its growth begins, a tied one those of its first
layer; they are not chosen again. Channels that stay have alpha = 0. In a network without tied units
nothing is aligned, and alpha_max is held for longer.

The penalty alpha / 2 x**2 acts in one of two ways. Through Adam, as published: its gradient is
added to that of the task. But an Adam step is at most about the learning rate whatever alpha is, so
that a gamma of 1 takes a thousand steps at a rate of 1e-3 to vanish (the paper takes 160,000 at
2e-4). Decoupled, which is for schedules of any length: after each step the minimiser of the penalty
near the point,

    x <- x / (1 + rate alpha)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Widths
from bench.surgery.importance import most_important
from methods.assl.alignment import agreement, jaccard
from methods.assl.reparametrisation import Scales

ALIGNMENT_SHARE, GROWTH_SHARE = 0.10, 0.65


@dataclass(frozen=True)
class Schedule:
    """When alpha grows.

    Args:
        steps: N, of all phases.
        interval: steps between two rises.
        most: alpha_max.
    """

    steps: int
    interval: int
    most: float

    @property
    def alignment(self) -> int:
        """N_ssa, in steps."""
        return int(ALIGNMENT_SHARE * self.steps)

    @property
    def growth(self) -> int:
        """N_growth, in steps."""
        return int(GROWTH_SHARE * self.steps)

    def alpha(self, step: int) -> float:
        """Of a channel to be lost, `step` steps after its growth began."""
        return min(
            self.most, self.most * self.interval / max(1, self.growth) * (step // self.interval)
        )


class Pressure:
    """Aligns and presses a network while it is trained, in one training through all phases.

    Args:
        scales: of the network that is trained.
        widths: unit -> channels that stay, of the units that lose some.
        schedule: of the phases.
        weight: lambda, of the alignment.
        decoupled: how the penalty acts.
        centred: how agreement is measured.

    Attributes:
        kept: unit -> the channels that stay, for the units whose growth has begun.
        tied: the units that have more than one layer.
        notes: a line at the end of each phase.
    """

    def __init__(
        self,
        scales: Scales,
        widths: Widths,
        schedule: Schedule,
        weight: float,
        *,
        decoupled: bool = True,
        centred: bool = True,
    ) -> None:
        self.scales, self.widths, self.schedule = scales, widths, schedule
        self.weight, self.decoupled, self.centred = weight, decoupled, centred
        self.kept: dict[str, list[int]] = {}
        self.notes: list[str] = []
        self.tied = [unit for unit in widths if len(scales.channels.units[unit].layers) > 1]
        self._step, self._growing = (
            0,
            list[tuple[int, Tensor]](),
        )  # when a growth began, and which places it presses
        self._grow([unit for unit in widths if unit not in self.tied])
        self._overlap = self.overlap()
        if not schedule.alignment:
            self._grow(self.tied)

    def penalty(self, network: nn.Module) -> Tensor:
        """What is added to the loss, a scalar: the penalty unless it is decoupled, less the agreement of tied layers while it counts."""
        added = (
            torch.zeros((), device=self.scales.device)
            if self.decoupled
            else self.scales.penalty(self.coefficients())
        )
        return (
            added - self.weight * self.agreement()
            if self.tied and self._step < self.schedule.alignment
            else added
        )

    def after_step(self, index: int, rate: float) -> None:
        """Presses, where that is decoupled; then on to the next step, and to the next phase."""
        if self.decoupled:
            self.scales.shrink(1 / (1 + rate * self.coefficients()))
        self._step = index + 1
        if self.tied and self._step == self.schedule.alignment:
            self.notes.append(
                f"aligned: tied layers would keep {self.overlap():.2f} in common, {self._overlap:.2f} before"
            )
            self._grow(self.tied)
        phase = {
            self.schedule.alignment + self.schedule.growth: "grown",
            self.schedule.steps: "stabilised",
        }.get(self._step)
        if phase:
            alpha = float(self.coefficients().max())
            self.notes.append(
                f"{phase}: alpha {alpha:.2g}, |gamma| of lost channels {self.ratio():.2g} of that of kept ones"
            )

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        begun, gone = zip(*self._growing, strict=True)
        return {
            "step": self._step,
            "begun": list(begun),
            "gone": torch.stack(gone),
            "kept": self.kept,
            "notes": self.notes,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Back to that."""
        self._step, self.kept, self.notes = state["step"], state["kept"], state["notes"]
        self._growing = list(zip(state["begun"], state["gone"].to(self.scales.device), strict=True))

    def coefficients(self) -> Tensor:
        """(places + 1,): alpha of each place at this step; the last, of what always stays, is zero."""
        return torch.stack(
            [self.schedule.alpha(self._step - begun) * gone for begun, gone in self._growing]
        ).sum(0)

    def agreement(self) -> Tensor:
        """A scalar: how much tied layers agree, mean over tied units."""
        return torch.stack(
            [
                agreement(self._strengths(unit), self.widths[unit], self.centred)
                for unit in self.tied
            ]
        ).mean()

    def overlap(self) -> float:
        """The shared part of what tied layers would keep, mean over tied units; 1 if there is none."""
        return fmean(
            [jaccard(self._strengths(unit), self.widths[unit]) for unit in self.tied] or [1.0]
        )

    def ratio(self) -> float:
        """Mean |gamma| of the channels that are pressed over that of all others."""
        gone = torch.stack([mask for _, mask in self._growing]).any(0)
        gammas, places = (
            torch.cat(column)
            for column in zip(*map(self.scales.gammas, self.scales.layers), strict=True)
        )
        return float(
            gammas.detach().abs()[gone[places]].mean() / gammas.detach().abs()[~gone[places]].mean()
        )

    def _grow(self, units: Sequence[str]) -> None:
        """From here on these units are pressed to lose what is the weakest now."""
        chosen = {
            unit: most_important(self._strengths(unit)[0].detach(), self.widths[unit])
            for unit in units
        }
        self.kept |= chosen
        gone = torch.from_numpy(~self.scales.channels.stays(chosen))
        self._growing.append((self._step, gone.to(self.scales.device)))

    def _strengths(self, unit: str) -> list[Tensor]:
        """(C,) of each layer of a unit, in the order of execution."""
        return [
            self.scales.strengths(unit, layer) for layer in self.scales.channels.units[unit].layers
        ]

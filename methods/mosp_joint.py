"""mosp_joint: MOSP with all time steps in one integer program. A method of this project.

MOSP frees memory at the one time step that has most, and measures the loss without some channels of
each unit alive there, many times between two fine-tunings. Here one program decides a whole stride:

    min_x  sum_u f_u sum_i s_ui x_ui                          x_ui = 1: channel i of unit u goes
    s. t.  sum_u A_tu sum_i x_ui >= M_t - (max M - stride)    where M_t exceeds the target

s_ui is the importance of a channel, of one backward pass; A and M are those of the linear peak
model; all f_u are 1. With `corrections`, the loss without the channels that were chosen is measured
unit by unit, f_u becomes the measured rise divided by the predicted one (for units without a
measurement, the median of the others), and the program is solved again. That takes five to twenty
times the passes, and no gain of it could be measured. The multipliers of the time steps in the
relaxed program are their prices: how much loss a byte less costs there. The trace has the dearest
step.

Compactors, strides, fine-tuning and sweeps are those of MOSP.
"""

from dataclasses import dataclass
from statistics import median
from typing import ClassVar

import numpy as np
from torch import nn

from bench.contract import Budget, Trainer
from bench.errors import ConfigError, Infeasible, PluginError
from bench.plugins.registry import method
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import select_most_important
from bench.surgery.integer_program import relaxed_prices, solve_cover
from bench.surgery.narrowed_runs import NarrowedRuns
from bench.surgery.trajectory import Trajectory, TrajectoryMethod

UNIT_PARTS = 2  # a stride removes at most half of a unit, as long as that is enough
LEAST_COST = 1e-4  # of the mean cost of a channel: solvers take much smaller ones for zero
GAP = 1e-3  # relative, between the cut that is found and the best one


@method("mosp_joint")
@dataclass(frozen=True)
class MOSPJoint(TrajectoryMethod):
    """Prunes the units that are alive at any time step above the next target, in one program.

    Args:
        compactors: put a 1x1 convolution on every long skip.
        pairs: also put a pair of them on every long skip that is added.
        outer_stride: share of the unpruned peak that is freed between two fine-tunings, as a
            fraction.
        importance: of the channels.
        corrections: how often the predicted costs are corrected by measured ones.
    """

    paper: ClassVar[str] = "none: a method of this project, after MOSP (Shi et al., AAAI 2023)"
    importance: Importance = "gradient"
    corrections: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corrections < 0:
            raise ConfigError(f"mosp_joint: corrections = {self.corrections} must be 0 or more")

    def start(
        self, network: nn.Module, budget: Budget, trainer: Trainer, peak_bytes: int
    ) -> "JointTrajectory":
        """Return the start of a trajectory."""
        return JointTrajectory(
            network,
            budget,
            trainer,
            self.outer_bytes(peak_bytes),
            importance=self.importance,
            corrections=self.corrections,
        )


@dataclass
class JointTrajectory(Trajectory):
    """A trajectory whose strides are one integer program each; see MOSPJoint."""

    importance: Importance = "gradient"
    corrections: int = 0

    def advance(self, target_bytes: int) -> None:
        """Free `target_bytes` at every time step that has too many."""
        trainer = self.trainer
        scores = score_channels(self.importance, self.network, self.layout, trainer)
        runs = NarrowedRuns(self.network, self.layout)

        def measure_loss(kept: dict[str, list[int]]) -> float:
            with runs.narrow(kept) as narrowed:
                return trainer.loss(narrowed)

        program = StrideProgram(self, {unit: row.numpy() for unit, row in scores.items()})
        cut, price = program.solve(target_bytes)
        loss_now = measure_loss({}) if self.corrections else 0.0
        for _ in range(self.corrections):
            before = cut
            for unit, count in cut.items():
                kept = select_most_important(scores[unit], self.widths[unit] - count)
                program.correct(unit, count, measure_loss({unit: kept}) - loss_now)
            cut, price = program.solve(target_bytes)
            if cut == before:
                break
        self.remove_channels(
            {
                unit: select_most_important(scores[unit], self.widths[unit] - count)
                for unit, count in cut.items()
            }
        )
        self.add_to_trace(f"{price}; " + ", ".join(f"{unit} -{cut[unit]}" for unit in cut))


class StrideProgram:
    """The integer program of one stride.

    Args:
        trajectory: at which the stride starts.
        scores: unit -> importance of each channel, (C,).
    """

    def __init__(self, trajectory: Trajectory, scores: dict[str, np.ndarray]) -> None:
        model, widths = trajectory.peak_model, trajectory.widths
        self.least_bytes = model.peak_bytes(trajectory.min_widths)
        self.steps = model.steps
        self.bytes_alive = model.step_bytes(widths)
        self.removable = {
            unit: np.sort(row)[: widths[unit] - trajectory.min_widths[unit]]
            for unit, row in scores.items()
            if widths[unit] > trajectory.min_widths[unit]
        }
        self.widths = widths
        self.bytes_each = np.array(
            [
                [per_channel.get(unit, 0) for unit in self.removable]
                for per_channel in map(model.per_channel, range(len(self.steps)))
            ]
        )
        self.factors: dict[str, float] = {}

    def correct(self, unit: str, count: int, rise: float) -> None:
        """Take in by how much the loss rises without the `count` least important channels.

        Raises:
            PluginError: the loss is not a finite number.
        """
        if not np.isfinite(rise):
            raise PluginError(
                f"mosp_joint: the loss without {count} channels of '{unit}' is {rise}"
            )
        predicted = float(self.removable[unit][:count].sum())
        self.factors[unit] = max(rise, 0.0) / max(predicted, 1e-30)

    def solve(self, target_bytes: int) -> tuple[dict[str, int], str]:
        """Return unit -> how many channels go, and a note on the dearest time step.

        Raises:
            Infeasible: no cut frees so much.
        """
        need = self.bytes_alive - (self.bytes_alive.max() - target_bytes)
        rows = np.flatnonzero(need > 0)
        for parts in (UNIT_PARTS, 1):
            columns = [
                (index, score * self._factor(unit))
                for index, (unit, row) in enumerate(self.removable.items())
                for score in row[: max(1, self.widths[unit] // parts)]
            ]
            units = np.array([index for index, _ in columns], dtype=int)
            freed = self.bytes_each[np.ix_(rows, units)]
            if (freed.sum(1) >= need[rows]).all():  # in integers: a budget may be met exactly
                break
        else:
            raise Infeasible("a cut of all units frees too little", self.least_bytes)
        frees = freed / need[rows, None]
        cost = np.array([cost for _, cost in columns])
        cost = np.maximum(cost / (cost.mean() or 1.0), LEAST_COST)
        goes = solve_cover(cost, frees, np.ones_like(units), GAP)
        if isinstance(goes, str):
            raise PluginError(f"mosp_joint: the program has no answer: {goes}")
        counts = np.bincount(units[goes > 0], minlength=len(self.removable))
        cut = {unit: int(n) for unit, n in zip(self.removable, counts, strict=True) if n}
        prices = relaxed_prices(cost, frees, np.ones_like(units))
        dearest = int(prices.argmax())
        share = 100 * prices[dearest] / max(prices.sum(), 1e-30)
        return cut, f"{self.steps[rows[dearest]]} has {share:.0f} % of the price"

    def _factor(self, unit: str) -> float:
        return self.factors.get(unit, median(self.factors.values()) if self.factors else 1.0)

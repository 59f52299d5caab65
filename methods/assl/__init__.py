"""ASSL: Aligned Structured Sparsity Learning (Zhang et al., NeurIPS 2021).

Choose the channels to lose first, then train the network to do without them.

    the same share of every unit goes, as many channels as the budget asks for                       (ratio "local")
    write every layer as length times direction: |gamma| is the importance of a channel              (reparametrisation)
    align the layers whose outputs are added, so that they lose the same channels                    (alignment)
    press gamma and bias of the channels to lose by a penalty alpha / 2 x**2 that grows              (phases)
    hold the greatest alpha; put gamma back into the weights; remove the channels

One training goes through all phases, with one Adam. The harness fine-tunes. Quantum of the budget:
one step of the uniform grid. The work cannot be shared by budgets: which channels to press is known
only with the ratio.

Where we differ, so that a short schedule does what the paper's 160,000 steps do: the penalty acts
by a step of its own (`phases`), and agreement is measured on centred masks (`alignment`). All units
lose the same share, also the upsampler, which the paper leaves whole. Half of the paper's training
comes before surgery; of ours, where 1,000 steps are 62 epochs, 40 epochs. The defaults are from a
trial (denoising U-Net of width 16, half of the peak, one seed, 1,000 steps in all). The loss on
calibration crops after fine-tuning, with |gamma| of lost over that of kept channels before surgery,
was:

    uniform cut by norm     0.0545              20 epochs, decoupled    0.0443  (0.0025)
    20 epochs, Adam         0.0607  (0.75)      40 epochs, decoupled    0.0395  (0.0004)
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Method, Pruned, Recipe, TraceStep, Trainer
from bench.errors import ConfigError
from bench.plugins.registry import method
from bench.surgery.analysis import analyze_network
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import uniform_widths
from methods.assl.phases import Pressure, Schedule
from methods.assl.reparametrisation import Scales


@method("assl")
@dataclass(frozen=True)
class Assl(Method):
    """Presses the channels to lose towards zero before it removes them.

    Args:
        epochs: of all phases before surgery.
        penalty: alpha_max, for channels that shall go.
        decoupled: the penalty acts by a step of its own; otherwise through Adam, as published
            (penalty 0.5 / 255 for images up to 1).
        alignment: lambda, for images up to 1 and the mean over channels.
        centred: agreement is measured on masks less their mean; otherwise as published (alignment
            64 / 255 for 64 channels).
        interval: steps between two rises of alpha; the paper's 20 of 100,000 are less than one of
            ours.
    """

    paper: ClassVar[str] = (
        "Zhang et al., Aligned Structured Sparsity Learning for Efficient Image Super-Resolution, NeurIPS 2021"
    )
    epochs: int = 40
    penalty: float = 30.0
    decoupled: bool = True
    alignment: float = 100.0
    centred: bool = True
    interval: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.interval < 1 or self.penalty < 0:
            raise ConfigError(
                f"assl: epochs and penalty must be at least 0 and interval at least 1; found {self}"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Where compute is not matched, fine-tuning comes on top of the phases."""
        return recipe.matched_steps or self._steps(recipe) + recipe.finetune_steps

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """The largest uniform scale that fits. Raises Infeasible if the smallest does not."""
        body = analyze_network(model, budget)
        widths = uniform_widths(body, budget, trainer.recipe.min_width)
        losing = {unit: width for unit, width in widths.items() if width < body.widths[unit]}
        if not losing:
            return Pruned(deepcopy(model))
        scales = Scales(model, body.layout, trainer.device)
        schedule = Schedule(self._steps(trainer.recipe), self.interval, self.penalty)
        pressure = Pressure(
            scales, losing, schedule, self.alignment, decoupled=self.decoupled, centred=self.centred
        )
        pressed: dict[str, Any] = {"penalty": pressure.penalty, "after_step": pressure.after_step}
        carried = {
            "pressure": pressure,
            "widths": losing,
        }  # without them, budgets are alike until tied layers are pressed
        trainer.fit(
            scales.network, schedule.steps, phase="search", callback_state=carried, **pressed
        )
        smaller = remove_channels(
            scales.merged(model), pressure.kept, budget.input_shape, body.layout
        )
        phases = [
            TraceStep(body.peaks.peak_bytes(body.widths), body.widths, note)
            for note in pressure.notes
        ]
        return Pruned(
            smaller,
            kept=pressure.kept,
            trace=(*phases, TraceStep(body.peaks.peak_bytes(widths), widths, "removed")),
        )

    def _steps(self, recipe: Recipe) -> int:
        return self.epochs * recipe.steps_per_epoch

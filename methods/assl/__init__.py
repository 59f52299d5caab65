"""ASSL: Aligned Structured Sparsity Learning (Zhang et al., NeurIPS 2021).

Choose the channels to remove first, then train the network to do without them.

    1. Every unit will lose the same share, as many channels as the budget requires (ratio "local").
    2. Write every layer as length times direction; |gamma| is the importance of a channel
       (reparametrisation). Any other criterion chooses the channels of all units here and now, and
       there is nothing to align.
    3. Align the layers whose outputs are added, so that they lose the same channels (alignment).
    4. Drive gamma and bias of the channels to remove to zero, by a penalty alpha / 2 x**2 that
       grows (phases).
    5. Hold the greatest alpha; put gamma back into the weights; remove the channels.

A single training with one Adam goes through all phases. The harness fine-tunes. Quantum of the
budget: one step of the uniform grid. Budgets cannot share the work, because the channels to
penalise are known only with the ratio.

Differences from the paper, so that a short schedule achieves what its 160,000 steps do: the penalty
acts in a step of its own (`phases`), and agreement is measured on centred masks (`alignment`). All
units lose the same share, also the upsampler, which the paper does not prune. Half of the paper's
training comes before surgery; here it is 40 epochs of 62 (1,000 steps). The defaults are from a
trial (denoising U-Net of width 16, half of the peak, one seed, 1,000 steps in all). The loss on
calibration crops after fine-tuning, with |gamma| of lost over that of kept channels before surgery,
was:

    uniform cut by norm     0.0545              20 epochs, decoupled    0.0443  (0.0025)
    20 epochs, Adam         0.0607  (0.75)      40 epochs, decoupled    0.0395  (0.0004)
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Departure, Method, Pruned, Recipe, TraceStep, Trainer
from bench.errors import ConfigError
from bench.plugins.registry import method
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import uniform_widths
from methods.assl.phases import Regulariser, Schedule
from methods.assl.reparametrisation import Scales


@method("assl")
@dataclass(frozen=True)
class ASSL(Method):
    """Drives the channels to remove towards zero before it removes them.

    Args:
        epochs: of all phases before surgery.
        penalty: alpha_max, for channels to be removed.
        decoupled: the penalty acts in a step of its own; otherwise through Adam, as published
            (penalty 0.5 / 255 for images up to 1).
        alignment: lambda, for images up to 1 and the mean over channels.
        centred: agreement is measured on masks minus their mean; otherwise as published (alignment
            64 / 255 for 64 channels).
        interval: steps between two rises of alpha; the paper's 20 of 100,000 are less than one of
            ours.
        importance: chooses the channels to lose; "l2" is |gamma|, the norm at the start, as
            published.
    """

    paper: ClassVar[str] = (
        "Zhang et al., Aligned Structured Sparsity Learning for Efficient Image Super-Resolution, "
        "NeurIPS 2021"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="the penalty acts through Adam",
            here="in a step of its own; decoupled = false is the paper's",
            why="an Adam step is at most the learning rate: a gamma of 1 takes 1,000 steps of 1e-3",
            effect=(
                "loss on calibration crops after fine-tuning 0.0395, as published 0.0607 (see "
                "the header)"
            ),
        ),
        Departure(
            paper="agreement of masks",
            here="of masks minus their mean; centred = false is the paper's",
            why="under Adam, uncentred masks agree by lowering their thresholds",
            effect="overlap of random layers 0.86 after 200 steps, 0.34 after 1,000 without",
        ),
        Departure(
            paper="leaves the upsampler whole",
            here="prunes it",
            why="with it the peak of EDSR could not fall below 80 %",
            effect="not measured",
        ),
        Departure(
            paper="alpha rises every 20 steps of 100,000",
            here="every step",
            why="20 steps are a third of a short phase",
            effect="not measured",
        ),
    )
    epochs: int = 40
    penalty: float = 30.0
    decoupled: bool = True
    alignment: float = 100.0
    centred: bool = True
    interval: int = 1
    importance: Importance = "l2"

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.interval < 1 or self.penalty < 0:
            raise ConfigError(
                f"assl: epochs and penalty must be at least 0 and interval at least 1; found {self}"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining.

        Unless compute is matched, fine-tuning is added to the phases.
        """
        return recipe.matched_steps or self._steps(recipe) + recipe.finetune_steps

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Return the largest uniform scale that fits, after all phases.

        Raises:
            Infeasible: the smallest scale does not fit.
        """
        analysis = analyse_network(model, budget)
        widths = uniform_widths(analysis, budget, trainer.recipe.min_width)
        targets = {unit: width for unit, width in widths.items() if width < analysis.widths[unit]}
        if not targets:
            return Pruned(deepcopy(model))
        chosen = None
        if self.importance != "l2":
            scores = score_channels(self.importance, model, analysis.layout, trainer)
            chosen = analysis.select_kept(scores, targets)
        scales = Scales(model, analysis.layout, trainer.device)
        schedule = Schedule(self._steps(trainer.recipe), self.interval, self.penalty)
        regulariser = Regulariser(
            scales,
            targets,
            schedule,
            self.alignment,
            decoupled=self.decoupled,
            centred=self.centred,
            kept=chosen,
        )
        trainer.fit(
            scales.network,
            schedule.steps,
            phase="search",
            penalty=regulariser.penalty,
            after_step=regulariser.after_step,
            # Without the widths, the trainings of two budgets look alike where all layers are tied.
            callback_state={"regulariser": regulariser, "widths": targets},
        )
        merged = scales.merge(model)
        kept = regulariser.kept
        smaller = remove_channels(merged, kept, budget.input_shape, analysis.layout)
        full = analysis.widths
        full_bytes = analysis.peak_model.peak_bytes(analysis.widths)
        phases = [TraceStep(full_bytes, full, note) for note in regulariser.notes]
        removal = TraceStep(analysis.peak_model.peak_bytes(widths), widths, "removed")
        return Pruned(smaller, kept=kept, trace=(*phases, removal))

    def _steps(self, recipe: Recipe) -> int:
        return self.epochs * recipe.steps_per_epoch

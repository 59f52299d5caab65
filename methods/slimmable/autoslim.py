"""AutoSlim: a slimmable network tells which channels are worth least (Yu and Huang, 2019).

    train a slimmable network; each step trains two networks with an independent random width in
        every unit (training.py)
    from the full widths, until the peak fits:
        for every unit u: measure the error without the next group of u's channels, on fixed crops
        shrink the unit with the smallest error
    train the widths found in this way from scratch

The path does not depend on the budgets, so one path serves a sweep, and smaller budgets extend the
path of larger ones; the quantum is one group of max(1, c_u / groups) channels of one unit. A unit
loses its least important channels first, in the order of the pretrained weights that the slimmable
network starts from; from scratch, it loses the last ones first, as in the paper.

Before and after the narrower networks' losses are averaged, channels are ordered by importance and
all phases have one learning-rate curve (study table1, PSNR in dB at 0.75, 0.5 and 0.25 of the
peak):

    seed    before                 after
    0       28.12  27.04  17.76    28.34  27.46  24.59
    1                              28.67  27.54  17.00

As published, the error ignores memory: deep units cost nothing and shrink to one channel before any
full-resolution unit is touched. With `peak_aware` only units that are alive at the current peak
step may shrink, and the one with the least rise of the error per freed byte does.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import nn

from bench.contract import (
    NO_TRAINER,
    Budget,
    Departure,
    Pruned,
    Recipe,
    TraceStep,
    Trainer,
    Widths,
    largest_first,
)
from bench.errors import ConfigError, Infeasible
from bench.memory.groups import peak_group
from bench.memory.peak_model import PeakModel, compute_min_widths, infeasible_budget
from bench.method_bases import SweepMethod
from bench.plugins.registry import method
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import Importance
from bench.surgery.narrowed_runs import NarrowedRuns
from bench.surgery.remove import cut_copy
from bench.torch_state import eval_mode
from methods.slimmable.training import Slimmable, Start, sandwich_objective, start_slimmable

ErrorMeasure = Callable[[Sequence[Widths]], Sequence[float]]
PRETRAINING_PARTS = 5  # from scratch, a fifth of the pretraining trains the slimmable network


@method("autoslim")
@dataclass(frozen=True)
class AutoSlim(SweepMethod):
    """Shrinks a slimmable network greedily.

    Args:
        peak_aware: shrink only units that are alive at the peak step, by the rise of the error per
            freed byte.
        finish: "scratch" (new weights for the final widths, as in the paper) or "finetune" (the
            slice of the slimmable network).
        start: "pretrained", or "scratch": new weights for the slimmable network, and a fifth of the
            pretraining.
        importance: orders the channels of the pretrained network.
        epochs: of the slimmable network if it starts from the pretrained one.
        least: the smallest share of a unit's channels that is trained; the search may go below.
        groups: into how many groups the channels of a wide unit are divided.
        crops: how many of the calibration crops measure the error.
    """

    paper: ClassVar[str] = (
        "Yu and Huang, AutoSlim: Towards One-Shot Architecture Search for Channel Numbers, 2019"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="trains the slimmable network from new weights",
            here='from the pretrained ones for 20 epochs; start = "scratch" for the paper\'s',
            why="every method starts from the same network",
            effect="not measured",
        ),
        Departure(
            paper="keeps the first channels of a unit",
            here="the most important ones of the pretrained network",
            why="see S-Net",
            effect="not measured",
        ),
        Departure(
            paper="sums the losses of the narrower networks",
            here="averages them",
            why="see US-Net",
            effect="not measured apart from the curve",
        ),
    )
    peak_aware: bool = False
    finish: Literal["scratch", "finetune"] = "scratch"
    start: Start = "pretrained"
    importance: Importance = "l2"
    epochs: int = 20
    least: float = 0.15
    groups: int = 32
    crops: int = 16

    def __post_init__(self) -> None:
        if not (0 < self.least <= 1 and self.groups >= 1 and self.crops >= 1 and self.epochs >= 0):
            raise ConfigError(
                f"autoslim: least = {self.least} must lie in (0, 1], "
                f"groups = {self.groups} and crops = {self.crops} must be 1 or more, "
                f"epochs = {self.epochs} 0 or more"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining.

        Matched steps include those of the slimmable network. From scratch, it has a share of the
        pretraining instead.
        """
        steps = recipe.tuning_steps
        if self.start == "scratch":
            steps += recipe.pretrain_steps // PRETRAINING_PARTS
        elif not recipe.matched_steps:
            steps += self._epoch_steps(recipe)
        if self.finish == "scratch":
            steps += recipe.pretrain_steps
        return steps

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Yield the result of every budget once, largest first, along one path.

        A budget is charged the path up to it.
        """
        peak_model = analyse_network(model, budgets[0]).peak_model
        min_widths = compute_min_widths(peak_model.widths, trainer.recipe.min_width)
        least_bytes = peak_model.peak_bytes(min_widths)
        budgets = largest_first(budgets)
        if least_bytes > budgets[0].peak_bytes:
            yield from ((budget, infeasible_budget(budget, least_bytes)) for budget in budgets)
            return
        slimmable = self._train_slimmable(model, budgets[0], trainer)
        measure_errors = PathErrors(slimmable, trainer, self.crops)
        path = GreedyPath(peak_model, min_widths, self.groups, self.peak_aware, measure_errors)
        for budget in budgets:
            if least_bytes > budget.peak_bytes:
                yield budget, infeasible_budget(budget, least_bytes)
                continue
            while peak_model.peak_bytes(path.widths) > budget.peak_bytes:
                path.advance()
            with trainer.branch():
                pruned = slimmable.cut(path.widths, self.finish, trainer)
                yield budget, Pruned(pruned.model, pruned.finish, pruned.kept, trace=path.trace())

    def _epoch_steps(self, recipe: Recipe) -> int:
        """Return the steps of the slimmable network if it starts from the pretrained one."""
        return self.epochs * recipe.steps_per_epoch

    def _train_slimmable(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Slimmable:
        """Return a copy of the network, trained at independent random widths."""
        slimmable = start_slimmable(deepcopy(model), budget, self.start, self.importance, trainer)
        generator = torch.Generator().manual_seed(trainer.seed)
        recipe = trainer.recipe
        full = slimmable.analysis.widths
        narrowest = slimmable.widths_at(self.least, recipe.min_width)

        def draw_widths() -> list[Widths]:
            shares = self.least + (1 - self.least) * torch.rand(2, len(full), generator=generator)
            drawn: list[Widths] = [narrowest]
            for row in shares.tolist():
                share_of = dict(zip(full, row, strict=True))
                drawn.append(
                    {unit: max(narrowest[unit], int(full[unit] * share_of[unit])) for unit in full}
                )
            return drawn

        fit = partial(
            trainer.fit,
            slimmable.model,
            objective=sandwich_objective(slimmable, draw_widths, trainer),
            callback_state={"draws": generator},
        )
        if self.start == "scratch":
            fit(recipe.pretrain_steps // PRETRAINING_PARTS, phase="pretrain")
        else:
            fit(self._epoch_steps(recipe), phase="adapt")
        return slimmable


class PathErrors:
    """Measures the criterion at widths that shrink along a path, on the same crops.

    What the widths of one call have in common is cut out of the slimmable network; each of them
    runs from the first layer on in which it differs. It is the output of `Slimmable.run`, but for
    the order of float32 sums.

    Args:
        slimmable: must not change as long as this object is used.
        trainer: gives crops and criterion.
        crops: how many of the calibration crops.
    """

    def __init__(self, slimmable: Slimmable, trainer: Trainer, crops: int) -> None:
        degraded, clean = map(torch.cat, zip(*trainer.calibration, strict=True))
        self.degraded, self.clean = degraded[:crops], clean[:crops]
        self.slimmable, self.trainer = slimmable, trainer
        self.widths: Widths = slimmable.analysis.widths
        self.runs = NarrowedRuns(slimmable.model, slimmable.analysis.layout)

    def __call__(self, trials: Sequence[Widths]) -> list[float]:
        """Return the error at each of some widths, none wider than any of an earlier call."""
        self._cut({unit: max(trial[unit] for trial in trials) for unit in self.widths})
        network = self.runs.network
        losses = []
        with eval_mode(self.runs.model), torch.inference_mode():
            with self.runs.narrow({}) as whole:  # from which the trials resume; not one of them
                whole(self.degraded)
            with self.trainer.count_calls(network):
                for trial in trials:
                    with self.runs.narrow(self._find_kept(trial)):
                        losses.append(self.trainer.criterion(network(self.degraded), self.clean))
            errors: list[float] = torch.stack(losses).tolist()
        return errors

    def _cut(self, widths: Widths) -> None:
        """Go on with the network at these widths."""
        kept = self._find_kept(widths)
        if kept:
            self.runs.replace(cut_copy(self.runs.model, self.runs.layout, kept)[0], kept)
            self.widths = widths

    def _find_kept(self, widths: Widths) -> dict[str, list[int]]:
        """Return the channels that stay of the units that lose some, in the present numbering."""
        kept = {}
        for unit, width in widths.items():
            if width < self.widths[unit]:
                stays = set(self.slimmable.ranking[unit][:width])
                now = sorted(self.slimmable.ranking[unit][: self.widths[unit]])
                kept[unit] = [index for index, channel in enumerate(now) if channel in stays]
        return kept


@dataclass
class GreedyPath:
    """Widths that shrink, one group of one unit at a time.

    Args:
        peak_model: bytes of every time step as a linear function of the widths.
        min_widths: unit -> the least width.
        groups: into how many groups the channels of a wide unit are divided.
        peak_aware: see AutoSlim.
        measure_errors: measures the error at each of some widths.
        history: for each step, the unit, its error, and the mean error of all candidates.
    """

    peak_model: PeakModel
    min_widths: dict[str, int]
    groups: int
    peak_aware: bool
    measure_errors: ErrorMeasure
    history: list[tuple[str, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.widths = dict(self.peak_model.widths)
        self.error = self.measure_errors([self.widths])[0] if self.peak_aware else 0.0

    def advance(self) -> None:
        """Shrink the best unit by one group; of equal units the first."""
        units = [unit for unit in self.widths if self.widths[unit] > self.min_widths[unit]]
        channel_bytes: dict[str, int] = {}
        if self.peak_aware:
            channel_bytes = peak_group(self.peak_model, self.widths).per_channel
            units = [unit for unit in units if unit in channel_bytes]
        trials = [self.widths | {unit: self._next_width(unit)} for unit in units]
        errors = self.measure_errors(trials)
        scores = list(errors)
        if self.peak_aware:
            for index, unit in enumerate(units):
                freed_bytes = channel_bytes[unit] * (self.widths[unit] - trials[index][unit])
                scores[index] = (errors[index] - self.error) / freed_bytes
        best = min(range(len(units)), key=scores.__getitem__)
        self.widths = trials[best]
        self.error = errors[best]
        self.history.append((units[best], errors[best], sum(errors) / len(errors)))

    def trace(self) -> tuple[TraceStep, ...]:
        """Return one step that tells how far the path has come."""
        start = ("nothing", self.error, self.error)
        unit, error, mean = self.history[-1] if self.history else start
        note = (
            f"{len(self.history)} groups removed, the last of {unit}: "
            f"error {error:.4g}, mean of its candidates {mean:.4g}"
        )
        return (TraceStep(self.peak_model.peak_bytes(self.widths), self.widths, note),)

    def _next_width(self, unit: str) -> int:
        """Return the width of a unit with one group less."""
        group = max(1, self.peak_model.widths[unit] // self.groups)
        return max(self.min_widths[unit], self.widths[unit] - group)

"""AutoSlim: one slimmable network says which channels are worth least (Yu and Huang, AutoSlim, 2019).

    train a slimmable network, in each step two networks with an independent random width in every
    unit (training.py)
    from the full widths, until the peak fits: for every unit u: error of the network with one group
        of u's last channels less, on fixed crops shrink the unit with the smallest error
    train the widths that were found from scratch

The path does not depend on budgets, so one serves a sweep and smaller budgets extend the path of
larger ones; the quantum is one group of max(1, c_u / groups) channels of one unit. Channels have no
order of importance: the last go first, as training has arranged them.

As published the error does not see memory: deep units cost nothing and go down to one channel
before a full-resolution unit is touched. With `peak_aware` only units that are alive at the current
peak step may shrink, the one with the least rise of the error per freed byte.
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
    Pruned,
    Recipe,
    TraceStep,
    Trainer,
    Widths,
    largest_first,
)
from bench.errors import ConfigError, Infeasible
from bench.memory.groups import peak_group
from bench.memory.peak_model import PeakModel, floor_widths, impossible
from bench.method_bases import SweepMethod
from bench.plugins.registry import method
from bench.torch_state import evaluating
from methods.slimmable.training import Slimmable, Start, sandwich

Errors = Callable[[Sequence[Widths]], Sequence[float]]
SHARE_OF_PRETRAINING = 5  # from scratch, a fifth of it trains the slimmable network


@method("autoslim")
@dataclass(frozen=True)
class AutoSlim(SweepMethod):
    """Greedy slimming of a slimmable network.

    Args:
        peak_aware: shrink only units that are alive at the peak step, by the rise of the error per
            freed byte.
        finish: "scratch" (new weights for the widths that were found, as in the paper) or
            "finetune" (their slice).
        start: "pretrained", or "scratch": new weights for the slimmable network, a fifth of the
            pretraining.
        epochs: of the slimmable network where it starts from the pretrained one.
        least: the smallest share of a unit's channels that is trained; the search goes below.
        groups: into how many groups the channels of a wide unit are parted.
        crops: of the calibration crops, how many measure the error.
    """

    paper: ClassVar[str] = (
        "Yu and Huang, AutoSlim: Towards One-Shot Architecture Search for Channel Numbers, 2019"
    )
    peak_aware: bool = False
    finish: Literal["scratch", "finetune"] = "scratch"
    start: Start = "pretrained"
    epochs: int = 20
    least: float = 0.15
    groups: int = 32
    crops: int = 16

    def __post_init__(self) -> None:
        if not (0 < self.least <= 1 and self.groups >= 1 and self.crops >= 1 and self.epochs >= 0):
            raise ConfigError(
                f"autoslim: least = {self.least} must lie in (0, 1], groups = {self.groups} and crops = {self.crops} must be 1 or more, "
                f"epochs = {self.epochs} 0 or more"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Of the network that was found; the slimmable one's are part of it, unless it has a share of a pretraining of its own."""
        own = recipe.pretrain_steps // SHARE_OF_PRETRAINING if self.start == "scratch" else 0
        return (
            own + recipe.tuning_steps + (recipe.pretrain_steps if self.finish == "scratch" else 0)
        )

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Every budget once, largest first, along one path: a budget costs the path up to it."""
        slimmable = self._slimmable(model, budgets[0], trainer)
        peaks, floor = (
            slimmable.body.peaks,
            floor_widths(slimmable.body.widths, trainer.recipe.min_width),
        )
        path = Path(peaks, floor, self.groups, self.peak_aware, self._errors(slimmable, trainer))
        for budget in largest_first(budgets):
            if peaks.peak_bytes(floor) > budget.peak_bytes:
                yield budget, impossible(budget, peaks.peak_bytes(floor))
                continue
            while peaks.peak_bytes(path.widths) > budget.peak_bytes:
                path.advance()
            with trainer.branch():
                pruned = slimmable.cut(path.widths, self.finish, trainer)
                yield budget, Pruned(pruned.model, pruned.finish, pruned.kept, trace=path.trace())

    def _slimmable(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Slimmable:
        """A copy, trained at independent random widths."""
        slimmable, draws, recipe = (
            Slimmable(deepcopy(model), budget),
            torch.Generator().manual_seed(trainer.seed),
            trainer.recipe,
        )

        full, narrowest = slimmable.body.widths, slimmable.at(self.least, recipe.min_width)

        def others() -> list[Widths]:
            shares = self.least + (1 - self.least) * torch.rand(2, len(full), generator=draws)
            random = [dict(zip(full, row, strict=True)) for row in shares.tolist()]
            return [
                narrowest,
                *(
                    {
                        unit: max(narrowest[unit], int(full[unit] * share))
                        for unit, share in row.items()
                    }
                    for row in random
                ),
            ]

        fit = partial(
            trainer.fit,
            slimmable.model,
            objective=sandwich(slimmable, others, trainer),
            callback_state={"draws": draws},
        )
        if self.start == "scratch":
            trainer.reinitialise(slimmable.model)
            fit(recipe.pretrain_steps // SHARE_OF_PRETRAINING, phase="pretrain")
        else:
            fit(self.epochs * recipe.steps_per_epoch, phase="adapt")
        return slimmable

    def _errors(self, slimmable: Slimmable, trainer: Trainer) -> Errors:
        """Measures the criterion of each of some networks on the same crops."""
        degraded, clean = (
            torch.cat(part)[: self.crops] for part in zip(*trainer.calibration, strict=True)
        )

        def errors(trials: Sequence[Widths]) -> list[float]:
            with evaluating(slimmable.model), torch.inference_mode():
                found: list[float] = torch.stack(
                    [trainer.criterion(slimmable.run(widths, degraded), clean) for widths in trials]
                ).tolist()
            return found

        return errors


@dataclass
class Path:
    """Widths on their way down, one group of one unit at a time.

    Args:
        peaks: bytes of every time step as a function of the widths.
        floor: the least widths.
        groups: of a wide unit's channels.
        peak_aware: see AutoSlim.
        errors: measures some networks.
    """

    peaks: PeakModel
    floor: dict[str, int]
    groups: int
    peak_aware: bool
    errors: Errors
    history: list[tuple[str, float, float]] = field(
        default_factory=list
    )  # unit, its error, the mean error of all candidates

    def __post_init__(self) -> None:
        self.widths = dict(self.peaks.widths)
        self.error = self.errors([self.widths])[0] if self.peak_aware else 0.0

    def advance(self) -> None:
        """Shrinks one unit; of equal ones the first."""
        bytes_each = (
            peak_group(self.peaks, self.widths).per_channel
            if self.peak_aware
            else dict.fromkeys(self.widths, 1)
        )
        units = [
            unit
            for unit in self.widths
            if unit in bytes_each and self.widths[unit] > self.floor[unit]
        ]
        trials = [self.widths | {unit: self._shrunk(unit)} for unit in units]
        errors = self.errors(trials)
        freed = [
            bytes_each[unit] * (self.widths[unit] - trial[unit])
            for unit, trial in zip(units, trials, strict=True)
        ]
        scores = (
            [(error - self.error) / size for error, size in zip(errors, freed, strict=True)]
            if self.peak_aware
            else errors
        )
        best = min(range(len(units)), key=scores.__getitem__)
        self.widths, self.error = trials[best], errors[best]
        self.history.append((units[best], errors[best], sum(errors) / len(errors)))

    def trace(self) -> tuple[TraceStep, ...]:
        """One line: how far the path has come."""
        unit, error, mean = (
            self.history[-1] if self.history else ("nothing", self.error, self.error)
        )
        note = f"{len(self.history)} groups removed, the last of {unit}: error {error:.4g}, mean of its candidates {mean:.4g}"
        return (TraceStep(self.peaks.peak_bytes(self.widths), self.widths, note),)

    def _shrunk(self, unit: str) -> int:
        return max(
            self.floor[unit], self.widths[unit] - max(1, self.peaks.widths[unit] // self.groups)
        )

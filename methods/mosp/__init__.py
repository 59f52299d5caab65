"""MOSP: Memory-Oriented Structural Pruning (Shi et al., AAAI 2023).

Peak memory is the largest sum of activations alive at one time step, so prune the units that are
alive *at that step*.

    put a compactor on every long skip; train (paper: 10 epochs)    (Sec. "Compactor")
    while the peak exceeds the budget:                              outer loop
        take the time step with the highest memory and its group    (Sec. "Layer Grouping")
        while less than the outer stride is freed at it:            inner loop
            order the channels of each unit; measure its sensitivity           (Eq. 2b)
            solve the integer program for the cheapest cut of an inner stride  (Eq. 2c)
        remove the channels, fine-tune for one epoch

The trajectory does not depend on the budgets. Where its next stride would pass below a budget, a
copy takes a shorter stride that ends at that budget, and the trajectory continues without it: one
trajectory serves a whole sweep.

Choices where the paper is silent: compactors start as the identity without activation; channels are
ordered by the mean over photographs of the absolute gradient of a gate (`importance = "gradient"`;
norms agree badly with measured losses); strides are fractions of the unpruned peak (2 MiB of 24 at
256x256 is 1/12); the harness does the last fine-tuning.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from torch import nn

from bench.contract import NO_TRAINER, Budget, Departure, Pruned, Trainer, largest_first
from bench.errors import ConfigError, Infeasible
from bench.memory.peak_model import infeasible_budget
from bench.memory.profile import peak_memory
from bench.method_bases import SweepMethod
from bench.plugins.registry import method
from bench.surgery.channel_scores import Importance
from bench.surgery.compactors import insert_compactors, long_added_skips, long_skips
from methods.mosp.trajectory import Trajectory

CHANNEL = "channel"


@method("mosp")
@dataclass(frozen=True)
class MOSP(SweepMethod):
    """Prunes the units that are alive at the peak step.

    Args:
        compactors: put a 1x1 convolution on every long skip.
        pairs: also put a pair of them on every long skip that is added, such as the one around all
            blocks of EDSR.
        outer_stride: share of the unpruned peak that is freed between two fine-tunings, as a
            fraction.
        inner_stride: share that is freed between two measurements of sensitivity; "channel" is the
            channel of the group that costs most memory.
        importance: orders the channels of a unit, before each inner step anew.
        points: at how many removals the loss of a unit is measured.
    """

    paper: ClassVar[str] = (
        "Shi et al., Memory-Oriented Structural Pruning for Efficient Image Restoration, AAAI 2023"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="does not say which channels of a layer go",
            here="those with the smallest gate gradient",
            why=(
                "norms agree badly with the measured loss of single channels (rank correlation "
                "-0.4 to 0.6, gradients about 0.9)"
            ),
            effect=(
                "28.59, 27.79 and 26.12 dB at 0.75, 0.5 and 0.25; by l2 28.01, 28.16 and 22.69 "
                "(table1, mean of three seeds); no difference exceeds its interval"
            ),
        ),
        Departure(
            paper="does not say how compactors start",
            here="as the identity, without activation",
            why="they change nothing when they are inserted",
            effect="not measured",
        ),
        Departure(
            paper="strides in MB at 256 x 256",
            here="as shares of the unpruned peak (2 of 24 MB: 1/12)",
            why="they serve any network and size",
            effect="none at the paper's setting",
        ),
        Departure(
            paper="one network for each budget",
            here=(
                "one trajectory for all; a copy takes a shorter last stride to meet a budget "
                "exactly"
            ),
            why="a sweep costs one trajectory",
            effect="not measured",
        ),
    )
    compactors: bool = True
    pairs: bool = False
    outer_stride: str = "1/12"
    inner_stride: str = CHANNEL
    importance: Importance = "gradient"
    points: int = 3

    def __post_init__(self) -> None:
        _parse_fraction("outer_stride", self.outer_stride)
        if self.inner_stride != CHANNEL:
            _parse_fraction("inner_stride", self.inner_stride)

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Yield the result of every budget once, largest first, along one trajectory."""
        trajectory = self._build_trajectory(model, budgets[0], trainer)
        remaining = largest_first(budgets)
        if trajectory.inserted and trajectory.can_reach(remaining[0]):
            trainer.fit(trajectory.network, trainer.recipe.adapt_steps, phase="adapt")
        while remaining:
            budget = remaining[0]
            excess_bytes = trajectory.peak_bytes - budget.peak_bytes
            if not trajectory.can_reach(budget):
                least_bytes = trajectory.peak_model.peak_bytes(trajectory.min_widths)
                yield remaining.pop(0), infeasible_budget(budget, least_bytes)
            elif excess_bytes <= 0:
                yield remaining.pop(0), trajectory.as_pruned()
            elif excess_bytes < trajectory.outer_bytes:
                with trainer.branch():
                    yield remaining.pop(0), trajectory.branch(budget)
            else:
                trajectory.advance(trajectory.outer_bytes)
                trajectory.finetune()

    def _build_trajectory(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Trajectory:
        """Return the start of the trajectory: the network with compactors, before any training."""
        skips = tuple(long_skips(model, budget.input_shape)) if self.compactors else ()
        skips += tuple(long_added_skips(model, budget.input_shape)) if self.pairs else ()
        network = insert_compactors(model, skips, budget.input_shape) if skips else deepcopy(model)
        peak_bytes = peak_memory(model, budget.input_shape, budget.convention)
        outer_bytes = int(_parse_fraction("outer_stride", self.outer_stride) * peak_bytes)
        inner_bytes = None
        if self.inner_stride != CHANNEL:
            inner_bytes = int(_parse_fraction("inner_stride", self.inner_stride) * peak_bytes)
        return Trajectory(
            network,
            budget,
            trainer,
            outer_bytes,
            inner_bytes,
            inserted=skips,
            importance=self.importance,
            points=self.points,
        )


def _parse_fraction(option: str, text: str) -> Fraction:
    """Return a text such as "1/12" as a fraction in (0, 1].

    Raises:
        ConfigError: it is not a fraction, or not in the range.
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"mosp: {option} = '{text}' is not a fraction; write for example \"1/12\""
        ) from error
    if not 0 < value <= 1:
        raise ConfigError(
            f"mosp: {option} = '{text}' must lie in (0, 1]: it is a share of the unpruned peak"
        )
    return value

"""MOSP: Memory-Oriented Structural Pruning (Shi et al., AAAI 2023).

Peak memory is the largest sum of activations alive at one time step, so prune the units that are
alive *then*.

    put a compactor on every long skip, adapt                                                   (Sec. "Compactor")
    while the peak exceeds the budget:                                                          outer loop
        take the time step with the highest memory and its pruning group                        (Sec. "Layer Grouping")
        while less than the outer stride is freed at it:                                        inner loop
            order the channels of each unit; measure its sensitivity                            (Eq. 2b)
            solve the integer program for the cheapest cut of one inner stride                  (Eq. 2c)
        remove the channels, fine-tune for one epoch

The trajectory does not depend on the budgets. Where its next stride would pass below a budget, a
copy takes a shorter stride that ends at that budget, and the trajectory goes on without it: one
trajectory serves a whole sweep.

Where the paper is silent: compactors start as the identity without activation; the channel order is
the mean over photographs of the absolute gradient of a gate (norms put the wrong channels first);
strides are fractions of the unpruned peak (2 MiB of 24 at 256x256 is 1/12); the last fine-tuning
belongs to the harness.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

from torch import nn

from bench.contract import NO_TRAINER, Budget, Pruned, Trainer, largest_first
from bench.errors import ConfigError, Infeasible
from bench.memory.peak_model import impossible
from bench.memory.profile import peak_memory
from bench.method_bases import SweepMethod
from bench.plugins.registry import method
from bench.surgery.compactors import insert, long_skips, long_sums
from methods.mosp.trajectory import Measure, Trajectory

CHANNEL = "channel"


@method("mosp")
@dataclass(frozen=True)
class Mosp(SweepMethod):
    """Prunes the units that are alive at the peak step.

    Args:
        compactors: put a 1x1 convolution on every long skip.
        pairs: also put a pair of them on every long skip that is added, such as the one around all
            blocks of EDSR.
        outer_stride: share of the unpruned peak that is freed between two fine-tunings, as a
            fraction.
        inner_stride: share that is freed between two measurements of sensitivity; "channel" is the
            dearest channel of the group.
        importance: the order in which the channels of a unit go; see bench.surgery.importance.
        points: at how many removals the loss of a unit is measured.
    """

    paper: ClassVar[str] = (
        "Shi et al., Memory-Oriented Structural Pruning for Efficient Image Restoration, AAAI 2023"
    )
    compactors: bool = True
    pairs: bool = False
    outer_stride: str = "1/12"
    inner_stride: str = CHANNEL
    importance: Literal["gradient", "fisher", "activation", "l1", "l2", "random"] = "gradient"
    points: int = 3

    def __post_init__(self) -> None:
        _fraction("outer_stride", self.outer_stride)
        if self.inner_stride != CHANNEL:
            _fraction("inner_stride", self.inner_stride)

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Every budget once, largest first, along one trajectory."""
        path, waiting = self._start(model, budgets[0], trainer), largest_first(budgets)
        if path.inserted and path.possible(waiting[0]):
            trainer.fit(path.network, trainer.recipe.adapt_steps, phase="adapt")
        while waiting:
            budget = waiting[0]
            excess_bytes = path.peak_bytes - budget.peak_bytes
            if not path.possible(budget):
                yield waiting.pop(0), impossible(budget, path.peaks.peak_bytes(path.floor))
            elif excess_bytes <= 0:
                yield waiting.pop(0), path.snapshot()
            elif excess_bytes < path.outer_bytes:
                with trainer.branch():
                    yield waiting.pop(0), path.branch(budget)
            else:
                path.advance(path.outer_bytes)
                path.finetune()

    def _start(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Trajectory:
        """The network with compactors, before any training."""
        skips = tuple(long_skips(model, budget.input_shape)) if self.compactors else ()
        skips += tuple(long_sums(model, budget.input_shape)) if self.pairs else ()
        network = insert(model, skips, budget.input_shape) if skips else deepcopy(model)
        peak_bytes = peak_memory(model, budget.input_shape, budget.convention)
        outer, inner = _fraction("outer_stride", self.outer_stride), self.inner_stride
        return Trajectory(
            network,
            budget,
            skips,
            Measure(trainer, self.importance, self.points),
            outer_bytes=int(outer * peak_bytes),
            inner_bytes=None
            if inner == CHANNEL
            else int(_fraction("inner_stride", inner) * peak_bytes),
        )


def _fraction(option: str, text: str) -> Fraction:
    """ "1/12" as a fraction in (0, 1]. Raises ConfigError."""
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

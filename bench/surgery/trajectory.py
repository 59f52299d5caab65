"""A network that shrinks in strides, with short training between them, for a sweep of budgets.

The trajectory does not depend on the budgets. Where its next stride would pass below a budget, a
copy takes a shorter stride that ends at that budget, and the trajectory continues without it: one
trajectory serves a whole sweep.

    advance()   one stride: frees bytes at the peak; what a method does here makes it that method
    finetune()  one epoch
    branch()    a copy that takes shorter strides until it meets a budget exactly
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from fractions import Fraction

from torch import nn

from bench.contract import NO_TRAINER, Budget, Pruned, TraceStep, Trainer, largest_first
from bench.errors import ConfigError, Infeasible
from bench.memory.peak_model import compute_min_widths, infeasible_budget
from bench.memory.profile import peak_memory
from bench.method_bases import SweepMethod
from bench.surgery.analysis import analyse_network
from bench.surgery.compactors import insert_compactors, long_added_skips, long_skips
from bench.surgery.remove import compose_removals, remove_channels


@dataclass
class Trajectory(ABC):
    """A network on its way to less memory.

    Args:
        network: with compactors; replaced by a smaller one at each removal.
        budget: gives input shape and convention.
        trainer: gives calibration crops and their loss, and fine-tunes.
        outer_bytes: freed at the peak between two fine-tunings.
        inserted: the values that have a compactor.
        trace: the steps so far.
    """

    network: nn.Module
    budget: Budget
    trainer: Trainer
    outer_bytes: int
    inserted: tuple[str, ...] = ()
    trace: list[TraceStep] = field(default_factory=list)

    def __post_init__(self) -> None:
        analysis = analyse_network(self.network, self.budget)
        self.peak_model = analysis.peak_model
        self.layout = analysis.layout
        self.kept = {unit: list(range(full)) for unit, full in analysis.widths.items()}
        self.min_widths = compute_min_widths(analysis.widths, self.trainer.recipe.min_width)
        self.add_to_trace("start")

    @abstractmethod
    def advance(self, target_bytes: int) -> None:
        """Free at least `target_bytes` where memory is highest.

        Raises:
            Infeasible: no unit there has a channel to lose.
        """

    @property
    def widths(self) -> dict[str, int]:
        """Return the channels that are left in each unit."""
        return self.layout.widths

    @property
    def peak_bytes(self) -> int:
        """Return the peak at these widths."""
        return self.peak_model.peak_bytes(self.widths)

    def add_to_trace(self, text: str) -> None:
        """Add a step with the present peak and widths, and a note, to the trace."""
        self.trace.append(TraceStep(self.peak_bytes, self.widths, text))

    def as_pruned(self) -> Pruned:
        """Return the present state, for the harness to finish."""
        kept = {
            unit: indices
            for unit, indices in self.kept.items()
            if len(indices) < self.peak_model.widths[unit]
        }
        network = deepcopy(self.network)
        return Pruned(network, kept=kept, inserted=self.inserted, trace=tuple(self.trace))

    def branch(self, budget: Budget) -> Pruned:
        """Return a network that meets a budget, from a copy of this trajectory.

        The last strides of the copy are shortened; this trajectory does not change.
        """
        branch = copy(self)
        branch.network = deepcopy(self.network)
        branch.trace = list(self.trace)
        while (excess := branch.peak_bytes - budget.peak_bytes) > 0:
            branch.advance(min(excess, self.outer_bytes))
            branch.finetune()
        return branch.as_pruned()

    def can_reach(self, budget: Budget) -> bool:
        """Return whether the least widths fit a budget."""
        return self.peak_model.peak_bytes(self.min_widths) <= budget.peak_bytes

    def finetune(self) -> None:
        """Fine-tune for one epoch."""
        self.trainer.fit(self.network, self.trainer.recipe.steps_per_epoch, phase="search")

    def remove_channels(self, kept: dict[str, list[int]]) -> None:
        """Remove channels from the network for good."""
        self.network = remove_channels(self.network, kept, self.budget.input_shape, self.layout)
        self.kept = compose_removals(self.kept, kept, self.peak_model.widths)
        self.layout = self.layout.narrow(kept)


@dataclass(frozen=True)
class TrajectoryMethod(SweepMethod):
    """A method that follows one trajectory for all budgets.

    Args:
        compactors: put a 1x1 convolution on every long skip.
        pairs: also put a pair of them on every long skip that is added, such as the one around all
            blocks of EDSR.
        outer_stride: share of the unpruned peak that is freed between two fine-tunings, as a
            fraction.
    """

    compactors: bool = True
    pairs: bool = False
    outer_stride: str = "1/12"

    def __post_init__(self) -> None:
        parse_share(self.name, "outer_stride", self.outer_stride)

    @abstractmethod
    def start(
        self, network: nn.Module, budget: Budget, trainer: Trainer, peak_bytes: int
    ) -> Trajectory:
        """Return the start of a trajectory.

        Args:
            network: with compactors.
            budget: any one of the sweep; only its input shape and convention may be used.
            trainer: the trainer of the sweep.
            peak_bytes: of the unpruned network.
        """

    def outer_bytes(self, peak_bytes: int) -> int:
        """Return the outer stride in bytes; `peak_bytes` is that of the unpruned network."""
        return max(1, int(parse_share(self.name, "outer_stride", self.outer_stride) * peak_bytes))

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Yield the result of every budget once, largest first, along one trajectory."""
        trajectory = self.build_trajectory(model, budgets[0], trainer)
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

    def build_trajectory(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Trajectory:
        """Return the start of the trajectory: the network with compactors, before any training."""
        skips = tuple(long_skips(model, budget.input_shape)) if self.compactors else ()
        skips += tuple(long_added_skips(model, budget.input_shape)) if self.pairs else ()
        network = insert_compactors(model, skips, budget.input_shape) if skips else deepcopy(model)
        peak_bytes = peak_memory(model, budget.input_shape, budget.convention)
        trajectory = self.start(network, budget, trainer, peak_bytes)
        trajectory.inserted = skips
        return trajectory


def parse_share(method: str, option: str, text: str) -> Fraction:
    """Return a text such as "1/12" as a fraction in (0, 1].

    Args:
        method: name for messages.
        option: name for messages.
        text: value of the option.

    Raises:
        ConfigError: it is not a fraction, or not in the range.
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"{method}: {option} = '{text}' is not a fraction; write for example \"1/12\""
        ) from error
    if not 0 < value <= 1:
        raise ConfigError(
            f"{method}: {option} = '{text}' must lie in (0, 1]: it is a share of the unpruned peak"
        )
    return value

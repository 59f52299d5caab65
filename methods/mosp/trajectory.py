"""The state that moves along MOSP's trajectory, and its two loops.

A trajectory has three operations:

    advance()   one turn of the outer loop: frees a stride at the current peak step, in inner steps
                of one inner stride each (order the channels, measure with masks, solve, remove)
    finetune()  one epoch
    branch()    a copy that takes shorter strides until it meets a budget exactly
"""

from copy import copy, deepcopy
from dataclasses import dataclass, field

from torch import nn

from bench.contract import Budget, Kept, Pruned, TraceStep, Trainer
from bench.errors import Infeasible
from bench.memory.groups import PruningGroup, peak_group
from bench.memory.peak_model import compute_min_widths
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import select_most_important
from bench.surgery.narrowed_runs import NarrowedRuns
from bench.surgery.remove import compose_removals, remove_channels
from methods.mosp.allocation import cheapest_cut
from methods.mosp.sensitivity import sensitivities

UNIT_PARTS = 4  # an inner step removes at most a quarter of a unit


@dataclass
class Trajectory:
    """A network on its way to less memory.

    Args:
        network: with compactors; replaced by a smaller one at each turn.
        budget: gives input shape and convention.
        trainer: gives calibration crops and their loss, and fine-tunes.
        outer_bytes: freed at the peak step between two fine-tunings.
        inner_bytes: freed between two measurements; None for the bytes of the group's most costly
            channel.
        inserted: the values that have a compactor.
        importance: orders the channels of a unit.
        points: at how many removals the loss of a unit is measured.
        trace: the steps so far.
    """

    network: nn.Module
    budget: Budget
    trainer: Trainer
    outer_bytes: int
    inner_bytes: int | None
    inserted: tuple[str, ...] = ()
    importance: Importance = "gradient"
    points: int = 3
    trace: list[TraceStep] = field(default_factory=list)

    def __post_init__(self) -> None:
        analysis = analyse_network(self.network, self.budget)
        self.peak_model = analysis.peak_model
        self.layout = analysis.layout
        self.kept = {unit: list(range(full)) for unit, full in analysis.widths.items()}
        self.min_widths = compute_min_widths(analysis.widths, self.trainer.recipe.min_width)
        self.add_to_trace("start")

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

    def advance(self, target_bytes: int) -> None:
        """Free at least `target_bytes` at the current peak step."""
        group = peak_group(self.peak_model, self.widths)
        before = self.widths
        inner_bytes = self.inner_bytes or max(group.per_channel.values())
        runs = NarrowedRuns(self.network, self.layout, group.per_channel)
        freed_bytes = 0
        while freed_bytes < target_bytes:
            need_bytes = min(inner_bytes, target_bytes - freed_bytes)
            kept = self._inner_step(group, runs, need_bytes, inner_bytes)
            freed_bytes += sum(
                group.per_channel[unit] * (self.widths[unit] - len(indices))
                for unit, indices in kept.items()
            )
            self._remove_channels(kept)
            runs.replace(self.network, kept)
        removals = [
            f"{unit} -{width - self.widths[unit]}"
            for unit, width in before.items()
            if width > self.widths[unit]
        ]
        self.add_to_trace(f"{group.name}: " + ", ".join(removals))

    def _inner_step(
        self, group: PruningGroup, runs: NarrowedRuns, need_bytes: int, inner_bytes: int
    ) -> dict[str, list[int]]:
        """Find the cheapest cut that frees `need_bytes` at the time step of a group.

        Returns:
            Unit -> channels that stay.

        Raises:
            Infeasible: all units of the group are at their least width.
        """
        limits = {
            unit: self._max_removals(unit, inner_bytes // channel_bytes)
            for unit, channel_bytes in group.per_channel.items()
        }
        limits = {unit: limit for unit, limit in limits.items() if limit > 0}
        if not limits:
            raise Infeasible(
                f"all units alive at {group.name} are at their least width",
                self.peak_model.peak_bytes(self.min_widths),
            )
        trainer = self.trainer
        scores = score_channels(self.importance, self.network, self.layout, trainer, runs)

        def select_kept(unit: str, count: int) -> list[int]:
            return select_most_important(scores[unit], self.widths[unit] - count)

        def measure_loss(kept: Kept) -> float:
            with runs.narrow(kept) as narrowed:
                return trainer.loss(narrowed)

        rises = sensitivities(
            lambda unit, count: measure_loss({unit: select_kept(unit, count)}),
            measure_loss({}),
            limits,
            self.points,
        )
        cut = cheapest_cut(rises, group.per_channel, limits, need_bytes)
        return {unit: select_kept(unit, count) for unit, count in cut.items()}

    def _max_removals(self, unit: str, stride_channels: int) -> int:
        """Return the most channels of a unit that one inner step may remove."""
        width = self.widths[unit]
        quarter = -(-width // UNIT_PARTS)
        return min(max(1, min(stride_channels, quarter)), width - self.min_widths[unit])

    def _remove_channels(self, kept: dict[str, list[int]]) -> None:
        """Remove channels from the network for good."""
        self.network = remove_channels(self.network, kept, self.budget.input_shape, self.layout)
        self.kept = compose_removals(self.kept, kept, self.peak_model.widths)
        self.layout = self.layout.narrow(kept)

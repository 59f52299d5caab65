"""The state that MOSP moves along, and its two loops.

advance()  one turn of the outer loop: frees a stride at the current peak step, in inner steps of
           one inner stride each (order the channels, measure with masks, solve, remove)
finetune() one epoch
branch()   a copy that takes shorter strides until it meets a budget exactly
"""

from copy import copy, deepcopy
from dataclasses import dataclass, field

from torch import nn

from bench.channels.units import Layout
from bench.contract import Budget, Pruned, TraceStep, Trainer
from bench.errors import Infeasible
from bench.memory.groups import PruningGroup, peak_group
from bench.memory.peak_model import floor_widths
from bench.surgery.analysis import analyze_network
from bench.surgery.importance import (
    Scores,
    activations,
    channel_norms,
    gate_gradients,
    most_important,
    random_scores,
)
from bench.surgery.remove import compose, pretended, remove_channels
from methods.mosp.allocation import cheapest_cut
from methods.mosp.sensitivity import sensitivities

MOST_OF_A_UNIT = 4  # one measurement looks at no more than a quarter of a unit


@dataclass(frozen=True)
class Measure:
    """How channels and units are judged.

    Args:
        trainer: gives the calibration loss.
        importance: the order of the channels of a unit.
        points: at how many removals the loss of a unit is measured.
    """

    trainer: Trainer
    importance: str
    points: int

    def scores(self, network: nn.Module, channels: Layout) -> Scores:
        """Unit -> importance of its channels; the least goes first."""
        calibration, criterion = self.trainer.calibration, self.trainer.criterion
        with self.trainer.count_calls(network):
            if self.importance in ("gradient", "fisher"):
                return gate_gradients(
                    network,
                    channels,
                    calibration,
                    criterion,
                    power=2 if self.importance == "fisher" else 1,
                )
            if self.importance == "activation":
                return activations(network, channels, calibration)
        if self.importance == "random":
            return random_scores(channels, self.trainer.seed)
        return channel_norms(network, channels, order=int(self.importance[1]))


@dataclass
class Trajectory:
    """A network on its way to less memory.

    Args:
        network: with compactors; replaced by a smaller one at each turn.
        inserted: the values that have a compactor.
        measure: how its channels are judged.
        outer_bytes: freed at the peak step between two fine-tunings.
        inner_bytes: freed between two measurements; None for the dearest channel of the group.
    """

    network: nn.Module
    budget: Budget
    inserted: tuple[str, ...]
    measure: Measure
    outer_bytes: int
    inner_bytes: int | None
    trace: list[TraceStep] = field(default_factory=list)

    def __post_init__(self) -> None:
        body = analyze_network(self.network, self.budget)
        self.peaks, self.layout = body.peaks, body.layout
        self.kept = {unit: list(range(full)) for unit, full in body.widths.items()}
        self.floor = floor_widths(body.widths, self.measure.trainer.recipe.min_width)
        self.note("start")

    @property
    def widths(self) -> dict[str, int]:
        """Unit -> channels left."""
        return self.layout.widths

    @property
    def peak_bytes(self) -> int:
        """The peak at these widths."""
        return self.peaks.peak_bytes(self.widths)

    def note(self, text: str) -> None:
        """A line in the diary."""
        self.trace.append(TraceStep(self.peak_bytes, self.widths, text))

    def snapshot(self) -> Pruned:
        """What has been reached, for the harness to finish."""
        kept = {
            unit: indices
            for unit, indices in self.kept.items()
            if len(indices) < self.peaks.widths[unit]
        }
        return Pruned(
            deepcopy(self.network), kept=kept, inserted=self.inserted, trace=tuple(self.trace)
        )

    def branch(self, budget: Budget) -> Pruned:
        """The end of a copy whose last strides are cut to meet the budget; this trajectory stays where it is."""
        branch = copy(self)
        branch.network, branch.trace = deepcopy(self.network), list(self.trace)
        while (excess := branch.peak_bytes - budget.peak_bytes) > 0:
            branch.advance(min(excess, self.outer_bytes))
            branch.finetune()
        return branch.snapshot()

    def possible(self, budget: Budget) -> bool:
        """Whether the least widths fit."""
        return self.peaks.peak_bytes(self.floor) <= budget.peak_bytes

    def finetune(self) -> None:
        """One epoch."""
        trainer = self.measure.trainer
        trainer.fit(self.network, trainer.recipe.steps_per_epoch, phase="search")

    def advance(self, target_bytes: int) -> None:
        """Frees at least `target_bytes` at the current peak step."""
        group, before = peak_group(self.peaks, self.widths), self.widths
        inner_bytes, freed_bytes = self.inner_bytes or max(group.per_channel.values()), 0
        while freed_bytes < target_bytes:
            cut = self._inner_step(group, min(inner_bytes, target_bytes - freed_bytes), inner_bytes)
            freed_bytes += sum(
                group.per_channel[unit] * (self.widths[unit] - len(indices))
                for unit, indices in cut.items()
            )
            self._remove(cut)
        gone = {
            unit: width - self.widths[unit]
            for unit, width in before.items()
            if width > self.widths[unit]
        }
        self.note(f"{group.name}: " + ", ".join(f"{unit} -{count}" for unit, count in gone.items()))

    def _inner_step(
        self, group: PruningGroup, need_bytes: int, inner_bytes: int
    ) -> dict[str, list[int]]:
        """Unit -> channels that stay, so that the cheapest cut frees `need_bytes` at the step of the group."""
        boxes = {
            unit: self._box(unit, inner_bytes // each) for unit, each in group.per_channel.items()
        }
        boxes = {unit: box for unit, box in boxes.items() if box > 0}
        if not boxes:
            raise Infeasible(
                f"all units alive at {group.name} are at their least width",
                self.peaks.peak_bytes(self.floor),
            )
        scores, trainer = self.measure.scores(self.network, self.layout), self.measure.trainer

        def staying(unit: str, count: int) -> list[int]:
            return most_important(scores[unit], self.widths[unit] - count)

        def loss(unit: str, count: int) -> float:
            with pretended(
                self.network, self.layout, {unit: staying(unit, count)}, self.budget.input_shape
            ) as smaller:
                return trainer.loss(smaller)

        rises = sensitivities(loss, trainer.loss(self.network), boxes, self.measure.points)
        cut = cheapest_cut(rises, group.per_channel, boxes, need_bytes)
        return {unit: staying(unit, count) for unit, count in cut.items()}

    def _box(self, unit: str, stride_channels: int) -> int:
        """The most channels of a unit that one inner step may remove."""
        width = self.widths[unit]
        quarter = -(-width // MOST_OF_A_UNIT)
        return min(max(1, min(stride_channels, quarter)), width - self.floor[unit])

    def _remove(self, kept: dict[str, list[int]]) -> None:
        """For good."""
        self.network = remove_channels(self.network, kept, self.budget.input_shape, self.layout)
        self.kept = compose(self.kept, kept, self.peaks.widths)
        self.layout = self.layout.without(kept)

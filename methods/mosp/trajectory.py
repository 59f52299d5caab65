"""MOSP's own part of a trajectory: its inner loop at the time step with the highest memory.

An inner step orders the channels, measures with masks, solves the integer program and removes.
"""

from dataclasses import dataclass

from bench.contract import Kept
from bench.errors import Infeasible
from bench.memory.groups import PruningGroup, peak_group
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import select_most_important
from bench.surgery.narrowed_runs import NarrowedRuns
from bench.surgery.trajectory import Trajectory
from methods.mosp.allocation import cheapest_cut
from methods.mosp.sensitivity import sensitivities

UNIT_PARTS = 4  # an inner step removes at most a quarter of a unit


@dataclass
class GroupTrajectory(Trajectory):
    """A trajectory that prunes the units alive at the peak step.

    Args:
        inner_bytes: freed between two measurements; None for the bytes of the group's most costly
            channel.
        importance: orders the channels of a unit.
        points: at how many removals the loss of a unit is measured.
    """

    inner_bytes: int | None = None
    importance: Importance = "gradient"
    points: int = 3

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
            self.remove_channels(kept)
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

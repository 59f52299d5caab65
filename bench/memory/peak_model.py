"""Peak memory as a linear function of the widths: no tracing, no network, one matrix.

    M = A w + c        peak = max(M)

M_t is the bytes alive at time step t; A[t, u] is the bytes that one channel of unit u costs at t
(several values of a unit may be alive at once); c holds what cannot be pruned. Exact, because
decisions about overwriting are made on the unpruned network.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from bench.channels.units import Layout, layout
from bench.contract import Budget, Convention, Inputs, Widths
from bench.errors import ConfigError, Infeasible
from bench.graph.ir import Graph
from bench.graph.lowering import trace
from bench.memory.liveness import Storage, liveness
from bench.units import format_mib


@dataclass(frozen=True)
class PeakModel:
    """Bytes of every time step as a linear function of the widths.

    A is sparse: an entry for each unit that is alive at a step.

    Args:
        widths: unit -> channels before pruning, in the order of the columns of A.
        steps: name of the operator at each time step, in the order of the rows.
        first: int64 (steps,), the place of each row's first entry.
        column: int64 (entries,), the unit of an entry; one behind the last stands for c, what
            cannot be pruned.
        bytes_each: int64 (entries,), bytes a channel; for c, all bytes.
    """

    widths: dict[str, int]
    steps: tuple[str, ...]
    first: np.ndarray
    column: np.ndarray
    bytes_each: np.ndarray

    def step_bytes(self, widths: Widths) -> np.ndarray:
        """M, int64 (steps,): bytes alive at each time step.

        Units that are not named are unpruned.
        """
        return np.add.reduceat(self.bytes_each * self.vector(widths)[self.column], self.first)

    def vector(self, widths: Widths) -> np.ndarray:
        """w and a 1, int64 (units + 1,)."""
        return np.array([*map(widths.get, self.widths, self.widths.values()), 1])

    def per_channel(self, step: int) -> dict[str, int]:
        """Row of A without its zeros: unit -> bytes that one of its channels costs at a time step."""
        entries = slice(
            self.first[step], self.first[step + 1] if step + 1 < len(self.first) else None
        )
        names, pairs = (
            list(self.widths),
            zip(self.column[entries].tolist(), self.bytes_each[entries].tolist(), strict=True),
        )
        return {names[column]: size for column, size in pairs if column < len(names)}

    def peak_bytes(self, widths: Widths) -> int:
        """max(M)."""
        return int(self.step_bytes(widths).max())

    def least_bytes(self, min_width: int = 1) -> int:
        """The peak with every unit at its least width."""
        return self.peak_bytes(floor_widths(self.widths, min_width))

    def check(self, budget: Budget, min_width: int = 1) -> None:
        """Raises Infeasible, naming the least peak, if not even the least widths fit."""
        least = self.least_bytes(min_width)
        if least > budget.peak_bytes:
            raise impossible(budget, least)


def impossible(budget: Budget, least_bytes: int) -> Infeasible:
    """What to raise when not even the least member of a family fits."""
    return Infeasible(
        f"a peak of {format_mib(budget.peak_bytes)} is not possible; the least is {format_mib(least_bytes)}",
        least_bytes,
    )


def floor_widths(widths: Mapping[str, int], min_width: int) -> dict[str, int]:
    """The least width of every unit: `min_width`, or all channels of a unit that has fewer."""
    return {unit: min(channels, min_width) for unit, channels in widths.items()}


def peak_model(model: nn.Module, shape: Inputs, convention: Convention = "planned") -> PeakModel:
    """The linear model of a network at an input of (N, C, H, W), or at several inputs."""
    graph = trace(model, shape)
    return peak_model_of(graph, layout(graph), convention)


def peak_model_of(graph: Graph, channels: Layout, convention: Convention) -> PeakModel:
    """The linear model of a graph with its layout."""
    plan, cost = liveness(graph, convention), _Cost(graph, channels)
    first: list[int] = []
    column: list[int] = []
    bytes_each: list[int] = []
    for alive in plan.alive():
        row: Counter[int] = Counter({len(channels.units): 0})
        for storage in alive:
            row.update(cost.of(storage))
        first.append(len(column))
        column += sorted(row)
        bytes_each += [row[unit] for unit in sorted(row)]
    steps = tuple(graph.ops[place].name for place in plan.steps)
    return PeakModel(
        channels.widths,
        steps,
        *(np.array(numbers, dtype=np.int64) for numbers in (first, column, bytes_each)),
    )


class _Cost:
    """What a storage costs: unit's column -> bytes a channel, and behind them the bytes that cannot be pruned."""

    def __init__(self, graph: Graph, channels: Layout) -> None:
        self.graph, self.units = graph, list(channels.units.values())
        self.values = channels.values
        self.unit_of = np.repeat(
            np.arange(len(self.units) + 1), [*(unit.channels for unit in self.units), 1]
        )  # the last one: STAYS
        self.seen: dict[str, dict[int, int]] = {}

    def of(self, storage: Storage) -> dict[int, int]:
        """The row of one storage."""
        if storage.name not in self.seen:
            self.seen[storage.name] = self._row(storage)
        return self.seen[storage.name]

    def _row(self, storage: Storage) -> dict[int, int]:
        places = self.values[storage.name]
        if not len(places):
            return {len(self.units): storage.size_bytes}
        each = storage.size_bytes // len(places)
        units, counts = np.unique(self.unit_of[places], return_counts=True)
        return {
            unit: each * self._multiplicity(unit, count, storage)
            for unit, count in zip(units.tolist(), counts.tolist(), strict=True)
        }

    def _multiplicity(self, unit: int, count: int, storage: Storage) -> int:
        """How many channels of a storage go with one of the unit's."""
        if unit == len(self.units):
            return count
        if count % self.units[unit].channels:
            raise ConfigError(
                f"'{storage.name}' holds unequal parts of '{self.units[unit].name}': its memory is not linear in the width"
            )
        return count // self.units[unit].channels

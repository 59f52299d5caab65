"""Peak memory as a linear function of the widths: no tracing, no network, one matrix.

    M = A w + c        peak = max(M)

M_t is the bytes alive at time step t; A[t, u] is the bytes that one channel of unit u costs at t (several values of a unit may be alive at
once); c holds what cannot be pruned. Exact, because decisions about overwriting are made on the unpruned network.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from bench.contract import Budget, Convention, Shape, Widths
from bench.errors import Infeasible
from bench.memory.graph import Graph, trace
from bench.memory.layout import layout
from bench.memory.liveness import Storage, liveness
from bench.units import format_mib


@dataclass(frozen=True)
class PeakModel:
    """Bytes of every time step as a linear function of the widths.

    Args:
        widths: unit -> channels before pruning, in the order of the columns of A.
        steps: name of the operator at each time step, in the order of the rows.
        per_channel: A, int64 (steps, units), bytes a channel.
        constant: c, int64 (steps,), bytes.
    """

    widths: dict[str, int]
    steps: tuple[str, ...]
    per_channel: np.ndarray
    constant: np.ndarray

    def step_bytes(self, widths: Widths) -> np.ndarray:
        """M, int64 (steps,): bytes alive at each time step. Units that are not named are unpruned."""
        return self.per_channel @ self.vector(widths) + self.constant

    def vector(self, widths: Widths) -> np.ndarray:
        """w, int64 (units,)."""
        return np.fromiter((widths.get(unit, full) for unit, full in self.widths.items()), np.int64, len(self.widths))

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
    return Infeasible(f"a peak of {format_mib(budget.peak_bytes)} is not possible; the least is {format_mib(least_bytes)}", least_bytes)


def floor_widths(widths: Mapping[str, int], min_width: int) -> dict[str, int]:
    """The least width of every unit: `min_width`, or all channels of a unit that has fewer."""
    return {unit: min(channels, min_width) for unit, channels in widths.items()}


def peak_model(model: nn.Module, shape: Shape, convention: Convention = "planned") -> PeakModel:
    """The linear model of a network at an input of (N, C, H, W)."""
    return peak_model_of(trace(model, shape), convention)


def peak_model_of(graph: Graph, convention: Convention) -> PeakModel:
    """The linear model of a graph."""
    channels, plan = layout(graph), liveness(graph, convention)
    columns = {unit: column for column, unit in enumerate(channels.units)}
    rows = np.zeros((len(plan.steps), len(columns) + 1), dtype=np.int64)
    for row, alive in zip(rows, plan.alive(), strict=True):
        for storage in alive:
            for segment in channels.values[storage.name]:
                column = columns.get(segment.unit)
                each = _channel_bytes(graph, storage)
                if column is None:
                    row[-1] += each * segment.channels
                else:
                    row[column] += each
    steps = tuple(graph.ops[place].name for place in plan.steps)
    return PeakModel(channels.widths, steps, rows[:, :-1].copy(), rows[:, -1].copy())


def _channel_bytes(graph: Graph, storage: Storage) -> int:
    """Bytes of one channel of the first value in a storage."""
    return storage.size_bytes // graph.values[storage.name].shape[1]

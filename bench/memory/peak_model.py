"""Peak memory as a linear function of the widths: one matrix, without the network or a trace.

    M = A w + c        peak = max(M)

M_t is the bytes alive at time step t; A[t, u] is the bytes that one channel of unit u costs at t
(several values of a unit may be alive at once); c holds what cannot be pruned. Exact, because
decisions about overwriting are made on the unpruned network (MOSP: the memory of a group is linear
in the channels of its layers).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from bench.channels.units import Layout, channel_layout
from bench.contract import Budget, Convention, Inputs, Widths
from bench.errors import ConfigError, Infeasible
from bench.graph.ir import Graph
from bench.graph.lowering import trace
from bench.memory.liveness import Storage, liveness
from bench.units import format_mib


@dataclass(frozen=True)
class PeakModel:
    """Bytes of every time step as a linear function of the widths.

    A is sparse: a row has an entry for each unit that is alive at its step. The entries of all rows
    are stored one after the other.

    Args:
        widths: unit -> channels before pruning, in the order of the columns of A.
        steps: name of the operator at each time step, in the order of the rows.
        first: int64 (steps,), index of the first entry of each row.
        column: int64 (entries,), the unit of each entry; the column after the last unit stands for
            c, what cannot be pruned.
        bytes_each: int64 (entries,), bytes per channel; for c, all bytes.
    """

    widths: dict[str, int]
    steps: tuple[str, ...]
    first: np.ndarray
    column: np.ndarray
    bytes_each: np.ndarray

    def step_bytes(self, widths: Widths) -> np.ndarray:
        """Return M, int64 (steps,): bytes alive at each time step.

        Units that are not in `widths` are unpruned.
        """
        entries = self.bytes_each * self.width_vector(widths)[self.column]
        return np.add.reduceat(entries, self.first)

    def width_vector(self, widths: Widths) -> np.ndarray:
        """Return w followed by a 1, int64 (units + 1,)."""
        return np.array([*map(widths.get, self.widths, self.widths.values()), 1])

    def per_channel(self, step: int) -> dict[str, int]:
        """Return unit -> bytes that one of its channels costs at a time step, without zeros."""
        end = self.first[step + 1] if step + 1 < len(self.first) else None
        entries = slice(self.first[step], end)
        names = list(self.widths)
        columns = self.column[entries].tolist()
        sizes = self.bytes_each[entries].tolist()
        return {
            names[column]: size
            for column, size in zip(columns, sizes, strict=True)
            if column < len(names)
        }

    def peak_bytes(self, widths: Widths) -> int:
        """Return max(M)."""
        return int(self.step_bytes(widths).max())

    def least_bytes(self, min_width: int = 1) -> int:
        """Return the peak with every unit at its least width."""
        return self.peak_bytes(compute_min_widths(self.widths, min_width))

    def check(self, budget: Budget, min_width: int = 1) -> None:
        """Raise Infeasible, with the least peak, if even the least widths exceed the budget."""
        least = self.least_bytes(min_width)
        if least > budget.peak_bytes:
            raise infeasible_budget(budget, least)


def infeasible_budget(budget: Budget, least_bytes: int) -> Infeasible:
    """Return the error to raise if even the smallest network of a family exceeds the budget."""
    multiples = (
        f" with multiples of {budget.channel_multiple} channels"
        if budget.channel_multiple > 1
        else ""
    )
    return Infeasible(
        f"a peak of {format_mib(budget.peak_bytes)} is not possible{multiples}; "
        f"the least is {format_mib(least_bytes)}",
        least_bytes,
    )


def compute_min_widths(widths: Mapping[str, int], min_width: int) -> dict[str, int]:
    """Return the least width of each unit: `min_width`, or all its channels if it has fewer."""
    return {unit: min(channels, min_width) for unit, channels in widths.items()}


def peak_model(model: nn.Module, shape: Inputs, convention: Convention = "planned") -> PeakModel:
    """Return the linear model of a network at an input of (N, C, H, W), or at several inputs."""
    graph = trace(model, shape)
    return peak_model_of_graph(graph, channel_layout(graph), convention)


def peak_model_of_graph(graph: Graph, layout: Layout, convention: Convention) -> PeakModel:
    """Return the linear model of a graph with its channel layout."""
    plan = liveness(graph, convention)
    costs = StorageCosts(graph, layout)
    first: list[int] = []
    column: list[int] = []
    bytes_each: list[int] = []
    for alive in plan.live_storages():
        row: Counter[int] = Counter({len(layout.units): 0})
        for storage in alive:
            row.update(costs.row(storage))
        first.append(len(column))
        column += sorted(row)
        bytes_each += [row[unit] for unit in sorted(row)]
    steps = tuple(graph.ops[position].name for position in plan.steps)
    return PeakModel(
        layout.widths,
        steps,
        *(np.array(numbers, dtype=np.int64) for numbers in (first, column, bytes_each)),
    )


class StorageCosts:
    """The cost of each storage: column of a unit -> bytes per channel.

    The column after the last unit holds the bytes that cannot be pruned.
    """

    def __init__(self, graph: Graph, layout: Layout) -> None:
        self.graph = graph
        self.units = list(layout.units.values())
        self.values = layout.values
        # Slot -> column of its unit; the last entry belongs to STAYS (-1).
        self.column_of_slot = np.repeat(
            np.arange(len(self.units) + 1), [*(unit.channels for unit in self.units), 1]
        )
        self.rows: dict[str, dict[int, int]] = {}

    def row(self, storage: Storage) -> dict[int, int]:
        """Return the cost of one storage."""
        if storage.name not in self.rows:
            self.rows[storage.name] = self._compute_row(storage)
        return self.rows[storage.name]

    def _compute_row(self, storage: Storage) -> dict[int, int]:
        slots = self.values[storage.value]
        if not len(slots):
            return {len(self.units): storage.size_bytes}
        channel_bytes = storage.size_bytes // len(slots)
        columns, counts = np.unique(self.column_of_slot[slots], return_counts=True)
        return {
            column: channel_bytes * self._multiplicity(column, count, storage)
            for column, count in zip(columns.tolist(), counts.tolist(), strict=True)
        }

    def _multiplicity(self, column: int, count: int, storage: Storage) -> int:
        """Return how many channels of a storage are removed with one channel of a unit."""
        if column == len(self.units):
            return count
        unit = self.units[column]
        if count % unit.channels:
            raise ConfigError(
                f"'{storage.name}' holds unequal parts of '{unit.name}': "
                "its memory is not linear in the width"
            )
        return count // unit.channels

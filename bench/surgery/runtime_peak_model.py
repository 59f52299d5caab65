"""The peak that a runtime plans as a function of the widths, without exporting a network for each.

    size of tensor i      s_i = R_i w + c_i         peak = replay(s)
    alive at time step t  M_t = sum of s_i alive    what the methods see: M_t + (peak - max M)

R and c are learned: the network is planned as it is and with a few random widths, and a tensor has
the row of that value of our graph which has its sizes. The widths are drawn so that no two values
of different rows have the same sizes. `replay` is the planner of the runtime itself, so the peak
has what its arena loses to gaps. It may rise when a width falls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from bench.channels.units import Layout
from bench.contract import Budget, Widths
from bench.errors import ConfigError
from bench.graph.ir import Graph
from bench.memory.liveness import Storage
from bench.memory.peak_model import PeakModel, StorageCosts
from bench.runtimes.registry import describe_runtime, load_planner
from bench.runtimes.runtime import MemoryPlan
from bench.surgery.remove import cut_copy

DRAWS = 200  # of widths, of which the most telling are planned
MOST_PROBES = 3
TOLERANCE = 0.02  # share of the peak by which the learned sizes may differ from the planned ones


@dataclass(frozen=True)
class RuntimePeakModel(PeakModel):
    """The peak of a runtime's plan, and the linear memory of its time steps.

    Args:
        sizes: float64 (tensors, units + 1), R and c: bytes of each tensor for a channel.
        replay: sizes of all tensors in bytes -> planned peak.
        margin: by which share the peak is raised, because the learned sizes were off by it.
    """

    sizes: np.ndarray
    replay: Callable[[Sequence[int]], int]
    margin: float
    known: dict[bytes, int] = field(default_factory=dict, repr=False)

    def step_bytes(self, widths: Widths) -> np.ndarray:
        """Return int64 (steps,): bytes alive at each time step, and what the arena loses to gaps.

        The largest is the planned peak.
        """
        alive = super().step_bytes(widths)
        return alive + (self._plan(self.width_vector(widths)) - alive.max())

    def peak_bytes(self, widths: Widths) -> int:
        """Return the planned peak."""
        return self._plan(self.width_vector(widths))

    def _plan(self, vector: np.ndarray) -> int:
        key = vector.tobytes()
        if key not in self.known:
            sizes = np.ceil(self.sizes @ vector - 1e-6).astype(np.int64)
            self.known[key] = int(np.ceil(self.replay(sizes.tolist()) * (1 + self.margin)))
        return self.known[key]


def runtime_peak_model(
    model: nn.Module, graph: Graph, layout: Layout, budget: Budget
) -> RuntimePeakModel:
    """Return the peak model of a network under the plan of a runtime, the budget's convention.

    Args:
        model: left untouched.
        graph: of the network at the input of the budget.
        layout: of the graph.
        budget: gives the input and the runtime.

    Raises:
        ConfigError: the runtime is not installed or does not take the network, or the sizes of the
            tensors that it plans do not follow from the widths.
    """
    runtime, planner = describe_runtime(budget.convention), load_planner(budget.convention)
    names, costs = _value_costs(graph, layout)
    probes = _telling_widths(costs, layout)
    plans = [planner.plan(model, budget.input_shape)]
    for widths in probes[1:]:
        kept = {unit: range(width) for unit, width in zip(layout.widths, widths, strict=False)}
        smaller, _ = cut_copy(model, layout, kept, shares_weights=True)
        plans.append(planner.plan(smaller, budget.input_shape))
    if len({len(plan.tensors) for plan in plans}) > 1:
        raise ConfigError(
            f"{runtime} plans other tensors for {type(model).__name__} when it is narrower, so its "
            "memory cannot be foreseen; take another --convention"
        )
    planned = np.array([[tensor.size_bytes for tensor in plan.tensors] for plan in plans]).T
    matches = _match(planned, costs @ probes.T)
    scales = planned[:, 0] / (costs @ probes[0])[matches]
    sizes = costs[matches] * scales[:, None]
    margin = float(
        (np.abs(sizes @ probes.T - planned).sum(0) / [plan.peak_bytes for plan in plans]).max()
    )
    if margin > TOLERANCE:
        worst = int(np.abs(sizes @ probes.T - planned).max(1).argmax())
        raise ConfigError(
            f"{runtime} plans tensors for {type(model).__name__} whose sizes do not follow from "
            f"the widths ('{plans[0].tensors[worst].name}'); take another --convention"
        )
    steps, rows = _time_steps(plans[0], sizes, [names[match] for match in matches])
    first, column = np.nonzero(rows)
    return RuntimePeakModel(
        layout.widths,
        steps,
        np.searchsorted(first, np.arange(len(rows))),
        column,
        np.rint(rows[first, column]).astype(np.int64),
        sizes,
        plans[0].replay,
        margin,
    )


def _value_costs(graph: Graph, layout: Layout) -> tuple[list[str], np.ndarray]:
    """Return names and int64 (values, units + 1): bytes that each value has for a channel.

    The last one is a byte that does not depend on any width.
    """
    costs = StorageCosts(graph, layout)
    rows = {"a constant": {len(layout.units): 1}}
    for name in graph.values.keys() - set(graph.weights):
        storage = Storage(name, graph.values[name].size_bytes, 0, 0, name)
        try:
            rows[name] = costs.row(storage)
        except ConfigError:  # a part of a value whose size is not linear; its whole may be
            continue
    dense = np.zeros((len(rows), len(layout.units) + 1), dtype=np.int64)
    for index, row in enumerate(rows.values()):
        dense[index, list(row)] = list(row.values())
    return list(rows), dense


def _telling_widths(costs: np.ndarray, layout: Layout) -> np.ndarray:
    """Return int64 (probes, units + 1): the full widths and then a few random ones, each with a 1.

    Values of different rows have different sizes at these widths, if that is possible.
    """
    generator = np.random.default_rng(0)
    full = np.array([*layout.widths.values(), 1])
    rows = np.unique(costs, axis=0)
    probes = full[None]
    while len(probes) <= MOST_PROBES:
        low = np.minimum(np.maximum(full // 4, 1), np.maximum(full - 1, 1))
        draws = generator.integers(low, np.maximum(full, 2), (DRAWS, len(full)))
        told = [len(np.unique(rows @ np.vstack([probes, draw]).T, axis=0)) for draw in draws]
        probes = np.vstack([probes, draws[int(np.argmax(told))]])
        if max(told) == len(rows):
            break
    return probes


def _match(planned: np.ndarray, known: np.ndarray) -> list[int]:
    """Return for each tensor the value of our graph whose sizes are nearest, up to a factor.

    Args:
        planned: (tensors, probes) bytes in the plans.
        known: (values, probes) bytes of our values.
    """
    shapes = known / known[:, :1]
    matches = []
    for sizes in planned:
        difference = np.abs(shapes - sizes / sizes[0]).sum(1)
        other_size = known[:, 0] != sizes[0]  # a factor only where no value has the size
        matches.append(int(np.lexsort((other_size, difference.round(12)))[0]))
    return matches


def _time_steps(
    plan: MemoryPlan, sizes: np.ndarray, names: list[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the name of each time step and float64 (steps, units + 1): bytes alive at it.

    A step is an instruction at which a tensor is born, named after the value that it has. Tensors
    in one place are one buffer.
    """
    births = {tensor.birth: name for tensor, name in zip(plan.tensors, names, strict=True)}
    rows = []
    for position in sorted(births):
        alive = {
            tensor.place: size
            for tensor, size in zip(plan.tensors, sizes, strict=True)
            if tensor.birth <= position <= tensor.death
        }
        rows.append(np.sum([*alive.values()], axis=0))
    return tuple(births[position] for position in sorted(births)), np.array(rows)

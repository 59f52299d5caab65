"""Peak memory of a network under a named convention.

    peak = max over time steps t of  M_t,   M_t = sum of bytes of the storages alive at t

Weights, biases, buffers, indices and workspace are not counted. If several steps have the most
bytes, the first is the peak.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.contract import Convention, Inputs
from bench.errors import ConfigError
from bench.graph.ir import Graph
from bench.graph.lowering import trace
from bench.graph.meta_run import copy_to_meta, meta_inputs
from bench.memory.liveness import liveness
from bench.memory.timeline import MemoryProfile, TimeStep
from bench.runtimes.registry import PLANNERS, load_planner
from bench.units import as_shapes

OWN_CONVENTIONS: tuple[Convention, ...] = ("planned", "eager")  # the others are runtimes


def profile(model: nn.Module, shape: Inputs, convention: Convention = "planned") -> MemoryProfile:
    """Return the memory profile of a network at an input of (N, C, H, W), or at several inputs.

    Raises:
        ConfigError: the network cannot be traced, or uses an operator that is not in the table.
    """
    return profiles(model, shape, (convention,))[0]


def profiles(
    model: nn.Module,
    shape: Inputs,
    conventions: Sequence[Convention],
    graph: Graph | None = None,
) -> list[MemoryProfile]:
    """Return the memory profiles of a network under several conventions.

    Args:
        model: the network.
        shape: input (N, C, H, W), or several.
        conventions: of OWN_CONVENTIONS.
        graph: of the network at this input, if it is known already.

    Raises:
        ConfigError: as `profile`.
    """
    graph = graph or trace(model, shape)
    parameters = sum(weight.numel() for weight in model.parameters())
    macs = count_macs(model, shape)
    return [
        MemoryProfile(shape, convention, graph_timeline(graph, convention), parameters, macs)
        for convention in conventions
    ]


def count_macs(model: nn.Module, shape: Inputs) -> int:
    """Return the MACs of one forward pass, counted by torch's own counter on meta tensors."""
    shadow = copy_to_meta(model)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shadow(*meta_inputs(shadow, as_shapes(shape)))
    return counter.get_total_flops() // 2


def timeline(
    model: nn.Module, shape: Inputs, convention: Convention = "planned"
) -> tuple[TimeStep, ...]:
    """Return the live bytes and the live storages of every time step."""
    return graph_timeline(trace(model, shape), convention)


def graph_timeline(graph: Graph, convention: Convention) -> tuple[TimeStep, ...]:
    """Return the same of a network that is traced already."""
    plan = liveness(graph, convention)
    if not plan.steps:
        raise ConfigError("the network allocates nothing: there is no peak to measure")
    steps = []
    for step, (position, alive) in enumerate(zip(plan.steps, plan.live_storages(), strict=True)):
        live = {storage.name: storage.size_bytes for storage in alive}
        steps.append(TimeStep(step, graph.ops[position].name, sum(live.values()), live))
    return tuple(steps)


def peak_memory(model: nn.Module, shape: Inputs, convention: Convention = "planned") -> int:
    """Return the peak bytes of a network at an input of (N, C, H, W).

    Raises:
        ConfigError: as `profile`, or the runtime that the convention names does not take it.
    """
    if convention in PLANNERS:
        return load_planner(convention).plan(model, shape).peak_bytes
    return max(step.bytes for step in timeline(model, shape, convention))

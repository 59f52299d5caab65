"""Peak memory of a network, under a named convention:

    peak = max over time steps t of  M_t,   M_t = sum of bytes of the storages alive at t

Weights, biases, buffers, indices and workspace are not counted. A tie for the peak goes to the
first step.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.contract import Convention, Inputs
from bench.errors import ConfigError
from bench.graph.lowering import trace
from bench.graph.tracing import meta_inputs, on_meta
from bench.memory.liveness import liveness
from bench.units import format_shape, mib, shapes_of


@dataclass(frozen=True)
class TimeStep:
    """One operator that allocates its result: its place, its name, the bytes alive at it, and whose they are."""

    step: int
    op: str
    bytes: int
    live: dict[str, int]


@dataclass(frozen=True)
class MemoryProfile:
    """What the ruler says of one network under one convention, at one input shape (N, C, H, W) or at several inputs."""

    shape: Inputs
    convention: Convention
    timeline: tuple[TimeStep, ...]
    parameters: int
    macs: int

    @property
    def peak(self) -> TimeStep:
        """The first time step with the most bytes."""
        return max(self.timeline, key=lambda step: step.bytes)

    @property
    def peak_bytes(self) -> int:
        """Bytes at the peak."""
        return self.peak.bytes

    @property
    def peak_step(self) -> str:
        """Name of the operator at the peak."""
        return self.peak.op

    def to_json(self) -> dict[str, Any]:
        """The profile as plain numbers and text."""
        return {
            "shape": format_shape(self.shape),
            "convention": self.convention,
            "peak_bytes": self.peak_bytes,
            "peak_mib": mib(self.peak_bytes),
            "peak_step": self.peak_step,
            "parameters": self.parameters,
            "macs": self.macs,
            "timeline": [vars(step) for step in self.timeline],
        }


def profile(model: nn.Module, shape: Inputs, convention: Convention = "planned") -> MemoryProfile:
    """The memory timeline of a network at an input of (N, C, H, W), or at several inputs.

    Raises:
        ConfigError: the network cannot be traced or uses an operator that the ruler does not know.
    """
    alive = timeline(model, shape, convention)
    return MemoryProfile(
        shape,
        convention,
        alive,
        sum(weight.numel() for weight in model.parameters()),
        count_macs(model, shape),
    )


def count_macs(model: nn.Module, shape: Inputs) -> int:
    """Multiply-accumulates of one forward pass, counted by torch's own counter on meta tensors."""
    shadow, counter = on_meta(model), FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shadow(*meta_inputs(shadow, shapes_of(shape)))
    return counter.get_total_flops() // 2


def timeline(
    model: nn.Module, shape: Inputs, convention: Convention = "planned"
) -> tuple[TimeStep, ...]:
    """Bytes and live values of every time step."""
    graph = trace(model, shape)
    plan = liveness(graph, convention)
    rows = [{storage.name: storage.size_bytes for storage in alive} for alive in plan.alive()]
    if not rows:
        raise ConfigError("the network allocates nothing: there is no peak to measure")
    names = [graph.ops[place].name for place in plan.steps]
    return tuple(
        TimeStep(step, name, sum(live.values()), live)
        for step, (name, live) in enumerate(zip(names, rows, strict=True))
    )


def peak_memory(model: nn.Module, shape: Inputs, convention: Convention = "planned") -> int:
    """Peak bytes of a network at an input of (N, C, H, W)."""
    return max(step.bytes for step in timeline(model, shape, convention))

"""The memory of one network over its time steps, as plain numbers; torch is not imported."""

from dataclasses import dataclass
from typing import Any

from bench.contract import Convention, Inputs
from bench.units import format_shape, mib


@dataclass(frozen=True)
class TimeStep:
    """One operator that allocates its result.

    Args:
        step: index of the time step.
        op: name of the operator.
        bytes: alive at the step.
        live: name of each live storage -> its bytes.
    """

    step: int
    op: str
    bytes: int
    live: dict[str, int]


@dataclass(frozen=True)
class MemoryProfile:
    """Memory of one network under one convention.

    Args:
        shape: input shape (N, C, H, W), or one for each of several inputs.
        convention: "planned" or "eager".
        timeline: all time steps, in execution order.
        parameters: number of parameters.
        macs: multiply-accumulates of one forward pass.
    """

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
        """Return the profile as plain numbers and text."""
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

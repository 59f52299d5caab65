"""The least peak of a network: what is alive at it, and why no channel of that can be removed."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from bench.channels.units import channel_layout, explain_full_width
from bench.channels.written_form import write_out
from bench.contract import Convention, Inputs
from bench.graph.lowering import trace
from bench.memory.liveness import liveness
from bench.memory.peak_model import compute_min_widths, peak_model_of_graph


@dataclass(frozen=True)
class LeastPeak:
    """The peak of a network if every unit keeps one channel.

    Args:
        bytes: of it.
        unpruned_bytes: of the unpruned network.
        step: name of the operator at it.
        alive: name of each live storage -> its bytes then.
        reasons: name of each of them that stays at full width -> why, with the line of the code.
    """

    bytes: int
    unpruned_bytes: int
    step: str
    alive: dict[str, int]
    reasons: dict[str, str]


def find_least_peak(
    model: nn.Module, shape: Inputs, convention: Convention = "planned"
) -> LeastPeak:
    """Return the least peak of a network at an input of (N, C, H, W), or at several inputs.

    Raises:
        ConfigError: the network cannot be traced, or does not accept the shape.
    """
    graph = trace(write_out(model, shape), shape)
    layout = channel_layout(graph)
    peaks = peak_model_of_graph(graph, layout, convention)
    step_bytes = peaks.step_bytes(compute_min_widths(layout.widths, 1))
    step = int(step_bytes.argmax())
    live = liveness(graph, convention).live_storages()[step]
    mask = layout.slot_mask({unit: [0] for unit in layout.units})
    explained = explain_full_width(graph)
    return LeastPeak(
        bytes=int(step_bytes[step]),
        unpruned_bytes=peaks.peak_bytes({}),
        step=peaks.steps[step],
        alive={
            storage.name: _shrink(storage.size_bytes, mask[layout.values[storage.value]])
            for storage in live
        },
        reasons={
            storage.name: explained[storage.value] for storage in live if storage.value in explained
        },
    )


def _shrink(size_bytes: int, kept: np.ndarray) -> int:
    """Return the bytes of a value that keeps these of its channels, bool (C,)."""
    return size_bytes // len(kept) * int(kept.sum()) if len(kept) else size_bytes

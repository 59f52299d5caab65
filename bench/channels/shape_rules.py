"""How channels flow through operators that only move elements."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.channels.compute_rules import keep, pin_if_hard_coded, pin_operands
from bench.channels.propagation import UNKNOWN, Atoms, ChannelRow, Flow
from bench.graph.ir import Op


def _concat(flow: Flow, op: Op) -> None:
    operands = flow.operands(op)
    dim = op.arguments.get("dim", 0) % len(flow.shape(op.makes[0]))
    axes = {row.axis for row in operands if row is not None}
    if axes != {dim}:
        # Concatenated along another axis than that of channels, or no channel axis is known.
        is_kept = len(axes) == 1 and None not in operands
        return keep(flow, op) if is_kept else pin_operands(flow, op)
    parts = [
        np.full(flow.shape(name)[dim], UNKNOWN) if row is None else row.atoms
        for name, row in zip(op.reads, operands, strict=True)
    ]
    flow.rows[op.makes[0]] = ChannelRow(dim, np.concatenate(parts))


def _chunk(flow: Flow, op: Op) -> None:
    """Cut channels into equal parts, also after pruning: each part keeps the same positions."""
    parts = _cut(flow, op)
    if len({len(part) for part in parts}) > 1:
        flow.pin(f"'{op.name}' cuts it into unequal parts", *parts)
    else:
        flow.tie_parts(parts)


def _split(flow: Flow, op: Op) -> None:
    """Cut channels into parts whose sizes are hard-coded."""
    flow.pin(f"'{op.name}' cuts it into parts whose sizes are hard-coded", *_cut(flow, op))


def _cut(flow: Flow, op: Op) -> list[Atoms]:
    """Cut a row and return its parts, one for each value that the operator makes.

    Returns no parts if the operator cuts along another axis than that of channels.
    """
    row = flow.rows[op.reads[0]]
    dim = op.arguments.get("dim", 0) % len(flow.shape(op.reads[0]))
    if row is None or row.axis != dim:
        flow.rows |= dict.fromkeys(op.makes, row)
        return []
    ends = np.cumsum([flow.shape(name)[row.axis] for name in op.makes])
    parts = np.split(row.atoms, ends[:-1])
    for name, part in zip(op.makes, parts, strict=True):
        flow.rows[name] = ChannelRow(row.axis, part)
    return parts


def _index(flow: Flow, op: Op) -> None:
    """Apply the rule of x[slices]: the channel axis must be taken whole."""
    row = flow.rows[op.reads[0]]
    index = op.arguments["index"]
    parts = list(index) if isinstance(index, tuple) else [index]
    if row is None:
        return pin_operands(flow, op)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    whole = [slice(None)] * (len(flow.shape(op.reads[0])) - used)
    ellipsis_position = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    parts = parts[:ellipsis_position] + whole + parts[ellipsis_position + 1 :]
    positions_of_axes = [position for position, part in enumerate(parts) if part is not None]
    position = positions_of_axes[row.axis]
    if parts[position] != slice(None):
        flow.pin(f"'{op.name}' takes channels by hard-coded indices", row)
        flow.rows[op.makes[0]] = None
    else:
        axis = sum(not isinstance(part, int) for part in parts[:position])
        flow.rows[op.makes[0]] = ChannelRow(axis, row.atoms)


def _reshape(flow: Flow, op: Op) -> None:
    """Apply the rule of a reshape, which must leave the channel axis whole.

    It does if the new axis has the same length, and as many elements in front of it.
    """
    row = flow.rows[op.reads[0]]
    if row is None:
        flow.rows[op.makes[0]] = None
        return
    before = flow.shape(op.reads[0])
    after = flow.shape(op.makes[0])
    elements_before = np.prod(before[: row.axis], dtype=int)
    elements_after = np.cumprod([1, *after])[:-1]
    axes = [
        axis
        for axis, size in enumerate(after)
        if size == before[row.axis] and elements_after[axis] == elements_before
    ]
    flow.rows[op.makes[0]] = ChannelRow(axes[0], row.atoms) if axes else None
    if axes:
        pin_if_hard_coded(flow, op)
    else:
        flow.pin(f"'{op.name}' does not keep the axis of its channels whole", row)


def _permute(flow: Flow, op: Op) -> None:
    _reorder(flow, op, list(op.arguments["dims"]))


def _transpose(flow: Flow, op: Op) -> None:
    order = list(range(len(flow.shape(op.reads[0]))))
    first, second = op.arguments["dim0"], op.arguments["dim1"]
    order[first], order[second] = order[second], order[first]
    _reorder(flow, op, order)


def _reorder(flow: Flow, op: Op, order: list[int]) -> None:
    row = flow.rows[op.reads[0]]
    axes = [axis % len(order) for axis in order]
    moved = None if row is None else ChannelRow(axes.index(row.axis), row.atoms)
    flow.rows[op.makes[0]] = moved


def _shuffle(flow: Flow, op: Op) -> None:
    """Apply the rule of PixelShuffle: r * r neighbouring channels become one."""
    row = flow.rows[op.reads[0]]
    if row is None or row.axis != len(flow.shape(op.reads[0])) - 3:
        return pin_operands(flow, op)
    blocks = row.atoms.reshape(-1, int(op.arguments["upscale_factor"]) ** 2)
    flow.tie_parts(blocks.T)
    flow.rows[op.makes[0]] = ChannelRow(row.axis, blocks[:, 0])


def _unshuffle(flow: Flow, op: Op) -> None:
    """Apply the rule of PixelUnshuffle: one channel becomes r * r neighbouring ones."""
    row = flow.rows[op.reads[0]]
    if row is None or row.axis != len(flow.shape(op.reads[0])) - 3:
        return pin_operands(flow, op)
    copies = int(op.arguments["downscale_factor"]) ** 2
    flow.rows[op.makes[0]] = ChannelRow(row.axis, np.repeat(row.atoms, copies))


SHAPE_RULES: dict[str, Callable[[Flow, Op], Any]] = {
    "concat": _concat,
    "chunk": _chunk,
    "split": _split,
    "index": _index,
    "reshape": _reshape,
    "permute": _permute,
    "transpose": _transpose,
    "shuffle": _shuffle,
    "unshuffle": _unshuffle,
}

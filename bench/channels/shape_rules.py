"""How channels flow through operators that only move elements."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.channels.compute_rules import keep, opaque, pin_if_counted
from bench.channels.propagation import FIXED, Atoms, Flow, Row
from bench.graph.ir import Op


def _concat(flow: Flow, op: Op) -> None:
    operands, shape = flow.operands(op), flow.shape(op.makes[0])
    dim = op.arguments.get("dim", 0) % len(shape)
    axes = {row.axis for row in operands if row is not None}
    if axes != {dim}:  # joined along another axis, or along none that is known
        return keep(flow, op) if len(axes) == 1 and None not in operands else opaque(flow, op)
    sizes = [flow.shape(name)[dim] for name in op.reads]
    parts = [
        np.full(size, FIXED) if row is None else row.atoms
        for row, size in zip(operands, sizes, strict=True)
    ]
    flow.rows[op.makes[0]] = Row(dim, np.concatenate(parts))


def _chunk(flow: Flow, op: Op) -> None:
    """Equal parts, also when there are fewer channels: each part keeps the same."""
    parts = _cut(flow, op)
    if len({len(part) for part in parts}) > 1:
        flow.pin(f"'{op.name}' cuts it into unequal parts", *parts)
    else:
        flow.tie_parts(parts)


def _split(flow: Flow, op: Op) -> None:
    """Parts whose sizes the code says."""
    flow.pin(f"'{op.name}' cuts it into parts of sizes that the code says", *_cut(flow, op))


def _cut(flow: Flow, op: Op) -> list[Atoms]:
    """The parts of a row, one for each value that the operator makes; none where it cuts along another axis than that of channels."""
    row, dim = flow.rows[op.reads[0]], op.arguments.get("dim", 0) % len(flow.shape(op.reads[0]))
    if row is None or row.axis != dim:
        flow.rows |= dict.fromkeys(op.makes, row)
        return []
    ends = np.cumsum([flow.shape(name)[row.axis] for name in op.makes])
    parts = np.split(row.atoms, ends[:-1])
    flow.rows |= {name: Row(row.axis, part) for name, part in zip(op.makes, parts, strict=True)}
    return parts


def _index(flow: Flow, op: Op) -> None:
    """x[...] of slices: the axis of channels must be taken whole."""
    row, index = flow.rows[op.reads[0]], op.arguments["index"]
    parts = list(index) if isinstance(index, tuple) else [index]
    if row is None:
        return opaque(flow, op)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    whole = [slice(None)] * (len(flow.shape(op.reads[0])) - used)
    at = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    parts = parts[:at] + whole + parts[at + 1 :]
    read = [place for place, part in enumerate(parts) if part is not None][row.axis]
    if parts[read] != slice(None):
        flow.pin(f"'{op.name}' takes channels that the code says", row)
        flow.rows[op.makes[0]] = None
    else:
        flow.rows[op.makes[0]] = Row(
            sum(not isinstance(part, int) for part in parts[:read]), row.atoms
        )


def _reshape(flow: Flow, op: Op) -> None:
    """Followed where the axis of channels stays whole: as long as before, with as many elements in front of it."""
    row, before, after = flow.rows[op.reads[0]], flow.shape(op.reads[0]), flow.shape(op.makes[0])
    if row is None:
        flow.rows[op.makes[0]] = None
        return
    front = np.cumprod([1, *after])[:-1]
    fits = [
        axis
        for axis, size in enumerate(after)
        if size == before[row.axis] and front[axis] == np.prod(before[: row.axis], dtype=int)
    ]
    flow.rows[op.makes[0]] = Row(fits[0], row.atoms) if fits else None
    if fits:
        pin_if_counted(flow, op)
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
    flow.rows[op.makes[0]] = None if row is None else Row(axes.index(row.axis), row.atoms)


def _shuffle(flow: Flow, op: Op) -> None:
    """PixelShuffle: r * r neighbouring channels become one."""
    row, square = flow.rows[op.reads[0]], int(op.arguments["upscale_factor"]) ** 2
    if row is None or row.axis != len(flow.shape(op.reads[0])) - 3:
        return opaque(flow, op)
    blocks = row.atoms.reshape(-1, square)
    flow.tie_parts(blocks.T)
    flow.rows[op.makes[0]] = Row(row.axis, blocks[:, 0])


def _unshuffle(flow: Flow, op: Op) -> None:
    """PixelUnshuffle: one channel becomes r * r neighbouring ones."""
    row = flow.rows[op.reads[0]]
    if row is None or row.axis != len(flow.shape(op.reads[0])) - 3:
        return opaque(flow, op)
    flow.rows[op.makes[0]] = Row(
        row.axis, np.repeat(row.atoms, int(op.arguments["downscale_factor"]) ** 2)
    )


MOVING: dict[str, Callable[[Flow, Op], Any]] = {
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

"""How channels flow through operators that only move elements."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.channels.compute_rules import follow_with_weight, keep, pin_if_hard_coded, pin_operands
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
    _tie_equal_parts(flow, op, _cut(flow, op))


def _tie_equal_parts(flow: Flow, op: Op, parts: list[Atoms]) -> None:
    if len({len(part) for part in parts}) > 1:
        flow.pin(f"'{op.name}' cuts it into unequal parts", *parts)
    else:
        flow.tie_parts(parts)


def _split(flow: Flow, op: Op) -> None:
    """Cut channels into parts whose sizes are hard-coded."""
    parts = _cut(flow, op)
    if not parts or not flow.may_rewrite():
        flow.pin(f"'{op.name}' cuts it into parts whose sizes are hard-coded", *parts)
    elif isinstance(op.arguments["sizes"], int):
        flow.rewrite(op, (1,), parts[0], len(parts[0]))
        _tie_equal_parts(flow, op, parts)
    else:
        for position, part in enumerate(parts):
            flow.rewrite(op, (1, position), part, len(part))


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
    """Apply the rule of x[slices]."""
    row = flow.rows[op.reads[0]]
    taken = None if row is None else _take(flow, op, row)
    if row is None:
        pin_operands(flow, op)
    elif taken is None:
        flow.pin(f"'{op.name}' takes channels by hard-coded indices", row)
    flow.rows[op.makes[0]] = taken


def _assign(flow: Flow, op: Op) -> None:
    """Apply the rule of x[slices] = y, whose result is x."""
    row = flow.rows[op.reads[0]]
    taken = None if row is None else _take(flow, op, row)
    contents = [flow.rows[name] for name in op.reads[1:]]
    if taken is None or any(
        content is None or len(content.atoms) != len(taken.atoms) for content in contents
    ):
        return pin_operands(flow, op)
    for content in contents:
        flow.tie(taken.atoms, content.atoms)  # type: ignore[union-attr]
    flow.rows[op.makes[0]] = row


def _take(flow: Flow, op: Op, row: ChannelRow) -> ChannelRow | None:
    """Return the row of x[slices]; None if it cannot follow the channels.

    The channel axis must be taken whole, or by a slice whose ends may be rewritten.
    """
    index = op.arguments["index"]
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts):
        return None
    used = sum(part is not None and part is not Ellipsis for part in parts)
    whole = [slice(None)] * (len(flow.shape(op.reads[0])) - used)
    ellipsis_position = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    parts = parts[:ellipsis_position] + whole + parts[ellipsis_position + 1 :]
    positions_of_axes = [position for position, part in enumerate(parts) if part is not None]
    position = positions_of_axes[row.axis]
    axis = sum(not isinstance(part, int) for part in parts[:position])
    taken = parts[position]
    if taken == slice(None):
        return ChannelRow(axis, row.atoms)
    if not (isinstance(taken, slice) and taken.step in (None, 1) and flow.may_rewrite()):
        return None
    first, last, _ = taken.indices(len(row.atoms))
    given = position - (len(whole) - 1 if position >= ellipsis_position else 0)
    path = (1, given) if isinstance(index, tuple) else (1,)
    for end, before in (("start", row.atoms[:first]), ("stop", row.atoms[:last])):
        if getattr(taken, end) is not None:
            flow.rewrite(op, (*path, end), before, len(before))
    return ChannelRow(axis, row.atoms[first:last])


def _gather(flow: Flow, op: Op) -> None:
    """Apply the rule of gather(x, dim, positions), with a position for each channel."""
    dim = op.arguments.get("dim", 0) % len(flow.shape(op.reads[0]))
    if any(row is not None and row.axis == dim for row in flow.operands(op)):
        return pin_operands(flow, op)
    keep(flow, op)


def _take_positions(flow: Flow, op: Op) -> None:
    """Apply the rule of x[positions] and x[:, rows, columns], with tensors of positions.

    A table that the network keeps has an entry for each channel along the last axis that is taken
    whole.
    """
    table, ndim = op.reads[0], len(flow.shape(op.reads[0]))
    index = op.arguments["index"]
    parts = index if isinstance(index, tuple) else (index,)
    before = next((axis for axis, part in enumerate(parts) if not _is_whole(part)), ndim)
    count = len(op.reads) - 1
    whole = [*range(before), *range(before + count, ndim)]
    flow.pin(f"'{op.name}' takes positions from it", *flow.operands(op)[1:])
    if len(parts) != before + count or not whole:
        return pin_operands(flow, op)
    if table in flow.graph.weights and flow.rows[table] is None:
        flow.rows[table] = follow_with_weight(flow, table, whole[-1])
    row = flow.rows[table]
    if row is None or row.axis not in whole:
        return pin_operands(flow, op)
    moved = 0 if row.axis < before else len(flow.shape(op.makes[0])) - ndim
    flow.rows[op.makes[0]] = ChannelRow(row.axis + moved, row.atoms)


def _is_whole(part: object) -> bool:
    return isinstance(part, slice) and part == slice(None)


def _reshape(flow: Flow, op: Op) -> None:
    """Apply the rule of a reshape, which must leave the channel axis whole, cut it or merge it."""
    row = flow.rows[op.reads[0]]
    flow.rows[op.makes[0]] = None
    second = flow.second_rows.get(op.reads[0])
    if second is not None:
        kept = _keep_axis(flow, op, second)
        if kept is None:
            flow.pin(f"'{op.name}' does not keep the axis of its channels whole", second)
        else:
            flow.second_rows[op.makes[0]] = kept
    if row is None:
        return
    flow.rows[op.makes[0]] = _keep_axis(flow, op, row) or _regroup_axis(flow, op, row)
    if flow.rows[op.makes[0]] is None:
        flow.pin(f"'{op.name}' does not keep the axis of its channels whole", row)
    else:
        pin_if_hard_coded(flow, op)


def _keep_axis(flow: Flow, op: Op, row: ChannelRow) -> ChannelRow | None:
    """Return the row after a reshape that leaves its axis whole, else None.

    It does if the new axis has the same length, and as many elements in front of it.
    """
    before, after = flow.shape(op.reads[0]), flow.shape(op.makes[0])
    elements_before = np.prod(before[: row.axis], dtype=int)
    elements_after = np.cumprod([1, *after])[:-1]
    axes = [
        axis
        for axis, size in enumerate(after)
        if size == before[row.axis] and elements_after[axis] == elements_before
    ]
    if not axes:
        return None
    # Several have one element: the batch may, beside a single channel.
    return ChannelRow(row.axis if row.axis in axes else axes[0], row.atoms)


def _regroup_axis(flow: Flow, op: Op, row: ChannelRow) -> ChannelRow | None:
    """Return the row after a reshape that cuts the channel axis into several, or merges it.

    C channels become (heads, C / heads), for example. Then every head keeps the same positions, and
    the row lies along the last axis, or along the only one whose size the code computes; or, where
    heads are removed whole, along the axis of heads. Merged, a channel of the row stands for all
    elements of the other axes.
    """
    before, after = flow.shape(op.reads[0]), flow.shape(op.makes[0])
    old, new = _find_group(before, after, row.axis)
    if not new or not flow.may_rewrite():
        return None
    index = np.indices([before[axis] for axis in old])[old.index(row.axis)]
    atoms = row.atoms[index.ravel()]
    if len(new) == 1:
        return ChannelRow(new[0], atoms)
    sizes = op.arguments.get("sizes", ())
    computed = [axis for axis in new if axis < len(sizes) and sizes[axis] in (None, -1)]
    carrier = computed[0] if len(computed) == 1 else new[-1]
    if op.name in flow.single_heads:
        carrier = new[-1]
    # The axis of heads is that in front of the channels of each; a single head stays.
    elif op.name in flow.whole_heads and carrier != new[0] and after[carrier - 1] > 1:
        carrier = new[new.index(carrier) - 1]
    parts = np.moveaxis(atoms.reshape([after[axis] for axis in new]), new.index(carrier), -1)
    parts = parts.reshape(-1, after[carrier])
    flow.tie_parts(parts)
    flow.cuts[op.name] = parts
    if carrier != new[-1]:
        flow.by_heads.add(op.name)
    return ChannelRow(carrier, parts[0])


def _find_group(
    before: tuple[int, ...], after: tuple[int, ...], axis: int
) -> tuple[list[int], list[int]]:
    """Return the fewest axes, with `axis`, that a reshape turns into whole axes, and those.

    Axes of length 1 are left out.
    """
    left = [position for position, size in enumerate(before) if size > 1]
    right = [position for position, size in enumerate(after) if size > 1]
    while left and right:
        old, new = [left.pop(0)], [right.pop(0)]
        while True:
            elements = [
                np.prod([shape[a] for a in axes]) for shape, axes in ((before, old), (after, new))
            ]
            if elements[0] == elements[1]:
                break
            (old if elements[0] < elements[1] else new).append(
                (left if elements[0] < elements[1] else right).pop(0)
            )
        if axis in old:
            return old, new
    return [axis], []


def _permute(flow: Flow, op: Op) -> None:
    _reorder(flow, op, list(op.arguments["dims"]))


def _transpose(flow: Flow, op: Op) -> None:
    order = list(range(len(flow.shape(op.reads[0]))))
    first, second = op.arguments["dim0"], op.arguments["dim1"]
    order[first], order[second] = order[second], order[first]
    _reorder(flow, op, order)


def _transpose_last(flow: Flow, op: Op) -> None:
    order = list(range(len(flow.shape(op.reads[0]))))
    _reorder(flow, op, [*order[:-2], *order[:-3:-1]])


def _attribute(flow: Flow, op: Op) -> None:
    """Apply the rule of x.T, x.mT, x.real and x.imag."""
    is_transposed = op.arguments["name"] in ("T", "mT")
    (_transpose_last if is_transposed else keep)(flow, op)


def _reorder(flow: Flow, op: Op, order: list[int]) -> None:
    axes = [axis % len(order) for axis in order]
    row, second = flow.rows[op.reads[0]], flow.second_rows.get(op.reads[0])
    moved = None if row is None else ChannelRow(axes.index(row.axis), row.atoms)
    flow.rows[op.makes[0]] = moved
    if second is not None:
        flow.second_rows[op.makes[0]] = ChannelRow(axes.index(second.axis), second.atoms)


def _move_last(flow: Flow, op: Op) -> None:
    """Apply `_move` for an operator that takes the last axes if none are given."""
    _move(flow, op, (-2, -1))


def _move(flow: Flow, op: Op, default: tuple[int, ...] = ()) -> None:
    """Apply the rule of an operator that mixes or moves elements along some axes."""
    row = flow.rows[op.reads[0]]
    dims = op.arguments.get("dims", op.arguments.get("dim"))
    dims = default if dims is None else dims
    axes = [dims] if isinstance(dims, int) else list(dims or [])
    ndim = len(flow.shape(op.reads[0]))
    if row is not None and (not axes or row.axis in {axis % ndim for axis in axes}):
        return pin_operands(flow, op)
    flow.rows |= dict.fromkeys(op.makes, row)


def _unbind(flow: Flow, op: Op) -> None:
    row = flow.rows[op.reads[0]]
    dim = op.arguments.get("dim", 0) % len(flow.shape(op.reads[0]))
    if row is None or row.axis == dim:
        return pin_operands(flow, op)
    moved = ChannelRow(row.axis - (dim < row.axis), row.atoms)
    flow.rows |= dict.fromkeys(op.makes, moved)


def _stack(flow: Flow, op: Op) -> None:
    rows = flow.operands(op)
    dim = op.arguments.get("dim", 0) % len(flow.shape(op.makes[0]))
    known = [row for row in rows if row is not None]
    if len(known) < len(rows) or len({row.axis for row in known}) != 1:
        return pin_operands(flow, op)
    flow.tie_parts([row.atoms for row in known])
    axis = known[0].axis + (dim <= known[0].axis)
    flow.rows[op.makes[0]] = ChannelRow(axis, known[0].atoms)


def _unfold(flow: Flow, op: Op) -> None:
    """Apply the rule of im2col: one channel becomes one for each element of the kernel."""
    row = flow.rows[op.reads[0]]
    if row is None or row.axis != 1:
        return pin_operands(flow, op)
    copies = flow.shape(op.makes[0])[1] // len(row.atoms)
    flow.rows[op.makes[0]] = ChannelRow(1, np.repeat(row.atoms, copies))


def _fold(flow: Flow, op: Op) -> None:
    """Apply the rule of col2im: the channels of all elements of a kernel become one."""
    row = flow.rows[op.reads[0]]
    if row is None or row.axis != 1:
        return pin_operands(flow, op)
    blocks = row.atoms.reshape(flow.shape(op.makes[0])[1], -1)
    flow.tie_parts(blocks.T)
    flow.rows[op.makes[0]] = ChannelRow(1, blocks[:, 0])


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
    "assign": _assign,
    "gather": _gather,
    "take": _take_positions,
    "reshape": _reshape,
    "permute": _permute,
    "transpose": _transpose,
    "transpose_last": _transpose_last,
    "attribute": _attribute,
    "move": _move,
    "move_last": _move_last,
    "unbind": _unbind,
    "stack": _stack,
    "unfold": _unfold,
    "fold": _fold,
    "shuffle": _shuffle,
    "unshuffle": _unshuffle,
}

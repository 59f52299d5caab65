"""How channels flow through operators that compute.

Layers mix channels; other operators keep them apart.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.channels.propagation import UNKNOWN, Atoms, ChannelRow, Flow
from bench.graph.ir import Op

# ---- layers that mix channels --------------------------------------------------------------------


def _mix(flow: Flow, op: Op) -> None:
    """Apply the rule of a convolution, (..., C, H, W)."""
    shape = flow.shape(op.makes[0])
    axis = len(shape) - 3
    groups = int(op.arguments["groups"])
    inputs = _input_atoms(flow, op, axis)
    if groups > 1 and groups == len(inputs):
        return _mix_depthwise(flow, op, axis, inputs)
    outputs = _output_atoms(flow, op, inputs, shape[axis])
    if groups > 1:
        if op.arguments["transposed"]:
            flow.pin(f"'{op.name}' is a grouped transposed convolution", inputs, outputs)
        for atoms in (inputs, outputs):
            flow.tie_parts(atoms.reshape(groups, -1))
    flow.rows[op.makes[0]] = ChannelRow(axis, outputs)


def _slide(flow: Flow, op: Op) -> None:
    """Apply the rule of a convolution along or over channels, as in efficient channel attention.

    It runs with fewer channels too if it makes as many as it reads.
    """
    row = flow.rows[op.reads[0]]
    if row is None or row.axis < 2 or flow.shape(op.makes[0]) != flow.shape(op.reads[0]):
        return pin_operands(flow, op)
    flow.cross_channel_ops.append(op.name)
    flow.rows[op.makes[0]] = row


def _mix_last(flow: Flow, op: Op) -> None:
    """Apply the rule of a linear layer on channels, (..., C)."""
    shape = flow.shape(op.makes[0])
    axis = len(shape) - 1
    outputs = _output_atoms(flow, op, _input_atoms(flow, op, axis), shape[axis])
    flow.rows[op.makes[0]] = ChannelRow(axis, outputs)


def _input_atoms(flow: Flow, op: Op, axis: int) -> Atoms:
    """Return the atoms that a layer reads along an axis."""
    row = flow.rows[op.reads[0]]
    if row is not None and row.axis == axis:
        return row.atoms
    flow.pin(f"'{op.name}' reads it along another axis than that of its channels", row)
    return np.full(flow.shape(op.reads[0])[axis], UNKNOWN)


def _output_atoms(flow: Flow, op: Op, inputs: Atoms, size: int) -> Atoms:
    """Return the atoms that a layer makes: new ones, but at its second call those of the first."""
    layer = op.layer or op.name
    if layer not in flow.makes:
        flow.makes[layer] = flow.new_atoms(size)
        flow.reads[layer] = inputs
        return flow.makes[layer]
    if flow.may_rewrite():
        flow.tie(flow.reads[layer], inputs)
    else:
        flow.pin(
            f"the layer '{layer}' is called twice", inputs, flow.reads[layer], flow.makes[layer]
        )
    return flow.makes[layer]


def _mix_depthwise(flow: Flow, op: Op, axis: int, inputs: Atoms) -> None:
    """Apply the rule of a depthwise convolution: an output channel is removed with its input."""
    size = flow.shape(op.makes[0])[axis]
    outputs = np.repeat(inputs, size // len(inputs))
    if size > len(inputs):
        flow.pin(f"'{op.name}' makes several output channels of each input channel", inputs)
    _add_follower(flow, op, ChannelRow(0, outputs))
    flow.rows[op.makes[0]] = ChannelRow(axis, outputs)


def _add_follower(flow: Flow, op: Op, row: ChannelRow) -> None:
    """Record that the layer of an operator has weights for each channel of a row."""
    layer = op.layer or op.name
    if layer in flow.followers and flow.may_rewrite():
        flow.tie(flow.followers[layer].atoms, row.atoms)
    elif layer in flow.followers:
        flow.pin(f"the layer '{layer}' is called twice", row, flow.followers[layer])
    flow.followers.setdefault(layer, row)


# ---- operators that keep channels apart ----------------------------------------------------------


def keep(flow: Flow, op: Op) -> None:
    """Apply the rule of an operator whose channel c depends on channel c of the operands only.

    An operand may be broadcast over channels (a gate, a scale).
    """
    shape = flow.shape(op.makes[0])
    operands = list(zip(op.reads, flow.operands(op), strict=True))
    # Axes are counted from the end, as in broadcasting.
    axis = 0
    atoms = None
    for name, row in operands:
        if row is None:
            continue
        axis_from_end = row.axis - len(flow.shape(name))
        if len(row.atoms) == shape[axis_from_end]:
            axis = axis_from_end
            atoms = row.atoms
            break
    if atoms is None:
        return pin_operands(flow, op)
    for name, row in operands:
        own_shape = flow.shape(name)
        size = own_shape[axis] if len(own_shape) >= -axis else 1
        if row is None and size > 1 and name in flow.graph.weights:
            row = flow.rows[name] = follow_with_weight(flow, name, len(own_shape) + axis)
        if row is not None and row.axis - len(own_shape) == axis and size == shape[axis]:
            flow.tie(atoms, row.atoms)
        elif size > 1:
            flow.pin(
                f"'{op.name}' combines it with a value whose channels lie elsewhere "
                "or are not known",
                atoms,
                row,
            )
        else:
            flow.pin(f"'{op.name}' broadcasts it over several channels", row)
    flow.rows[op.makes[0]] = ChannelRow(len(shape) + axis, atoms)
    _keep_second(flow, op)


def follow_with_weight(flow: Flow, name: str, axis: int) -> ChannelRow:
    """Return the row of a weight with several long axes, of which one meets channels."""
    flow.followers[name] = ChannelRow(axis, flow.new_atoms(flow.shape(name)[axis]))
    return flow.followers[name]


def _keep_second(flow: Flow, op: Op) -> None:
    """Carry a second axis of channels on, if all operands that have it agree."""
    shape = flow.shape(op.makes[0])
    seconds = [(name, flow.second_rows[name]) for name in op.reads if name in flow.second_rows]
    if not seconds:
        return
    name, second = seconds[0]
    axis = second.axis - len(flow.shape(name))
    for other in op.reads:
        own_shape = flow.shape(other)
        size = own_shape[axis] if len(own_shape) >= -axis else 1
        row = flow.second_rows.get(other)
        if row is not None and row.axis - len(own_shape) == axis:
            flow.tie(second.atoms, row.atoms)
        elif size > 1:
            flow.pin(f"'{op.name}' combines it with a value whose channels are not known", second)
    flow.second_rows[op.makes[0]] = ChannelRow(len(shape) + axis, second.atoms)


def _keep_own(flow: Flow, op: Op) -> None:
    """Apply `keep` for a layer with weights for each entry of axis 1."""
    keep(flow, op)
    row = flow.rows[op.makes[0]]
    if row is not None and row.axis == 1 and op.arguments.get("num_parameters") != 1:
        _add_follower(flow, op, ChannelRow(0, row.atoms))


def _expand(flow: Flow, op: Op) -> None:
    """Apply `keep` for an operator whose code may write out the number of channels.

    What has none may be expanded to those of another value: then channels are created.
    """
    if any(row is not None for row in flow.operands(op)):
        keep(flow, op)
        pin_if_hard_coded(flow, op)
    else:
        _create(flow, op, flow.shape(op.reads[0]))


def pin_if_hard_coded(flow: Flow, op: Op) -> None:
    """Let the number of channels that the code writes into a shape follow them, or pin them."""
    row = flow.rows[op.makes[0]]
    sizes = op.arguments.get("sizes", ())
    if row is None or len(sizes) != len(flow.shape(op.makes[0])):
        return
    if flow.graph.rewritable and op.size_paths:
        if sizes[row.axis] != -1:
            flow.rewrite(op, op.size_paths[row.axis], row.atoms, len(row.atoms))
    elif sizes[row.axis] == len(row.atoms):
        flow.may_rewrite()
        flow.pin(f"the code hard-codes the number of channels of '{op.name}'", row)


def _normalise(flow: Flow, op: Op) -> None:
    """Apply `keep`, unless the operator normalises over the channel axis."""
    keep(flow, op)
    row = flow.rows[op.makes[0]]
    dim = op.arguments.get("dim", 1)
    dim = 1 if dim is None else dim
    dims = {
        axis % len(flow.shape(op.makes[0])) for axis in ([dim] if isinstance(dim, int) else dim)
    }
    rows = (row, flow.second_rows.get(op.makes[0]))
    if any(row is not None and row.axis in dims for row in rows):
        flow.cross_channel_ops.append(op.name)


def _group_norm(flow: Flow, op: Op) -> None:
    """Apply the rule of group normalisation: all groups keep the same number of channels."""
    groups = int(op.arguments["num_groups"])
    _keep_own(flow, op)
    row = flow.rows[op.makes[0]]
    flow.cross_channel_ops.append(op.name)
    if row is None:
        return
    if groups == len(row.atoms):
        flow.pin(f"'{op.name}' has as many groups as channels", row)
    else:
        flow.tie_parts(row.atoms.reshape(groups, -1))


def _layer_norm(flow: Flow, op: Op) -> None:
    """Apply the rule of layer normalisation, over the last axes."""
    row = flow.rows[op.reads[0]]
    ndim = len(flow.shape(op.reads[0]))
    normalised_axes = len(op.arguments["normalized_shape"])
    keep(flow, op)
    if row is not None and row.axis >= ndim - normalised_axes:
        flow.cross_channel_ops.append(op.name)
        if row.axis == ndim - 1 and normalised_axes == 1:
            _add_follower(flow, op, ChannelRow(0, row.atoms))
        else:
            flow.pin(f"'{op.name}' normalises over channels and pixels", row)


def _reduce(flow: Flow, op: Op) -> None:
    """Apply the rule of a mean or a sum over some axes."""
    row = flow.rows[op.reads[0]]
    shape = flow.shape(op.reads[0])
    dim = op.arguments.get("dim")
    dims = [dim] if isinstance(dim, int) else dim or range(len(shape))
    reduced = {axis % len(shape) for axis in dims}
    flow.rows |= dict.fromkeys(op.makes)
    if row is None or row.axis in reduced:
        flow.cross_channel_ops += [] if row is None else [op.name]
        return
    keeps_axes = len(flow.shape(op.makes[0])) == len(shape)
    removed_before = 0 if keeps_axes else sum(axis < row.axis for axis in reduced)
    flow.rows |= dict.fromkeys(op.makes, ChannelRow(row.axis - removed_before, row.atoms))


def _extremum(flow: Flow, op: Op) -> None:
    """Apply the rule of max and min: of two tensors, or over some axes."""
    (keep if len(op.reads) > 1 else _reduce)(flow, op)


def _keep_first(flow: Flow, op: Op) -> None:
    """Apply `keep` for an operator that takes no more than type or shape of other operands."""
    flow.rows[op.makes[0]] = flow.rows[op.reads[0]]
    if op.reads[0] in flow.second_rows:
        flow.second_rows[op.makes[0]] = flow.second_rows[op.reads[0]]


def _embed(flow: Flow, op: Op) -> None:
    """Apply the rule of a table of vectors: an entry of each for every channel."""
    axis = len(flow.shape(op.makes[0])) - 1
    row = ChannelRow(axis, flow.new_atoms(flow.shape(op.makes[0])[axis]))
    flow.pin(f"'{op.name}' takes positions from it", flow.rows[op.reads[0]])
    _add_follower(flow, op, ChannelRow(1, row.atoms))
    flow.rows[op.makes[0]] = row


def _sample(flow: Flow, op: Op) -> None:
    """Apply the rule of an operator that reads its first operand at the positions in the second."""
    flow.pin(f"'{op.name}' takes positions from it", *flow.operands(op)[1:])
    row = flow.rows[op.reads[0]]
    flow.rows[op.makes[0]] = row if row is None or row.axis == 1 else None


def _create(flow: Flow, op: Op, source: tuple[int, ...] = ()) -> None:
    """Apply the rule of an operator that fills a new tensor with one number.

    Axis 1 of an image may have the number of channels of another value; if it does, the channels
    are created with those that they meet. They are copies of one entry if there is a source.
    """
    shape = flow.shape(op.makes[0])
    source = (1,) * (len(shape) - len(source)) + source
    axes = [
        axis
        for path, axis in zip(op.size_paths, range(len(shape)), strict=False)
        if source[axis] == 1
        and any(
            number.path == path and any(map(flow.is_channel_axis, number.sizes))
            for number in op.numbers
        )
    ]
    flow.rows[op.makes[0]] = None
    if len(axes) == 1 and flow.may_rewrite():
        row = ChannelRow(axes[0], flow.new_atoms(shape[axes[0]]))
        flow.rows[op.makes[0]] = row
        flow.rewrite(op, op.size_paths[axes[0]], row.atoms, len(row.atoms))


def pin_operands(flow: Flow, op: Op) -> None:
    """Pin all operands of an operator that uses channels in a way no rule describes."""
    flow.pin(f"'{op.name}' does not keep its channels apart", *flow.operands(op))
    flow.rows |= dict.fromkeys(op.makes)


def _function(flow: Flow, op: Op) -> None:
    """Pin what a function reads that could be a layer, if the network were written out."""
    pin_operands(flow, op)
    if len(op.reads) == 1 or any(name in flow.graph.weights for name in op.reads):
        flow.may_rewrite()


COMPUTE_RULES: dict[str, Callable[[Flow, Op], Any]] = {
    "mix": _mix,
    "slide": _slide,
    "mix_last": _mix_last,
    "keep": keep,
    "keep_own": _keep_own,
    "expand": _expand,
    "normalise": _normalise,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "reduce": _reduce,
    "extremum": _extremum,
    "keep_first": _keep_first,
    "embed": _embed,
    "sample": _sample,
    "create": _create,
    "function": _function,
    "opaque": pin_operands,
}

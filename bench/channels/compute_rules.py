"""How channels flow through operators that compute: layers that mix them, and operators that keep them apart."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.channels.propagation import FIXED, Atoms, Flow, Row
from bench.graph.ir import Op

# ---- layers that mix channels --------------------------------------------------------------------


def _mix(flow: Flow, op: Op) -> None:
    """A convolution, (..., C, H, W)."""
    axis, groups = len(flow.shape(op.makes[0])) - 3, int(op.arguments["groups"])
    inputs, size = _inputs(flow, op, axis), flow.shape(op.makes[0])[axis]
    if groups > 1 and groups == len(inputs):
        return _depthwise(flow, op, axis, inputs, size)
    outputs = _outputs(flow, op, inputs, size)
    if groups > 1:
        if op.arguments["transposed"]:
            flow.pin(f"'{op.name}' is a grouped transposed convolution", inputs, outputs)
        for atoms in (inputs, outputs):
            flow.tie_parts(atoms.reshape(groups, -1))
    flow.rows[op.makes[0]] = Row(axis, outputs)


def _mix_last(flow: Flow, op: Op) -> None:
    """A linear layer on channels, (..., C)."""
    axis = len(flow.shape(op.makes[0])) - 1
    flow.rows[op.makes[0]] = Row(
        axis, _outputs(flow, op, _inputs(flow, op, axis), flow.shape(op.makes[0])[axis])
    )


def _inputs(flow: Flow, op: Op, axis: int) -> Atoms:
    """The atoms that a layer reads along an axis."""
    row = flow.rows[op.reads[0]]
    if row is not None and row.axis == axis:
        return row.atoms
    flow.pin(f"'{op.name}' reads it along another axis than that of its channels", row)
    return np.full(flow.shape(op.reads[0])[axis], FIXED)


def _outputs(flow: Flow, op: Op, inputs: Atoms, size: int) -> Atoms:
    """The atoms that a layer makes: new ones, but at a second call those of the first."""
    layer = op.layer or op.name
    if layer not in flow.makes:
        flow.makes[layer], flow.reads[layer] = flow.new(size), inputs
        return flow.makes[layer]
    flow.pin(f"the layer '{layer}' is called twice", inputs, flow.reads[layer], flow.makes[layer])
    return flow.makes[layer]


def _depthwise(flow: Flow, op: Op, axis: int, inputs: Atoms, size: int) -> None:
    """Every output channel belongs to one input channel, and goes with it."""
    outputs = np.repeat(inputs, size // len(inputs))
    if size > len(inputs):
        flow.pin(f"'{op.name}' makes several channels of each", inputs)
    _follow(flow, op, Row(0, outputs))
    flow.rows[op.makes[0]] = Row(axis, outputs)


def _follow(flow: Flow, op: Op, row: Row) -> None:
    """The layer has weights for each of these channels."""
    if (layer := op.layer or op.name) in flow.follows:
        flow.pin(f"the layer '{layer}' is called twice", row, flow.follows[layer])
    flow.follows.setdefault(layer, row)


# ---- operators that keep channels apart ----------------------------------------------------------


def keep(flow: Flow, op: Op) -> None:
    """Channel c of the result depends on channel c of the operands, some of which may be spread over channels (a gate, a scale)."""
    shape, operands = flow.shape(op.makes[0]), list(zip(op.reads, flow.operands(op), strict=True))
    rows = [
        (row.axis - len(flow.shape(name)), row.atoms) for name, row in operands if row is not None
    ]
    place, atoms = next(
        ((place, atoms) for place, atoms in rows if len(atoms) == shape[place]), (0, None)
    )  # from the end, as broadcasting
    if atoms is None:
        return opaque(flow, op)
    for name, row in operands:
        own = flow.shape(name)
        size = own[place] if len(own) >= -place else 1
        if row is not None and row.axis - len(own) == place and size == shape[place]:
            flow.tie(atoms, row.atoms)
        elif size > 1:
            flow.pin(
                f"'{op.name}' combines it with a value whose channels lie elsewhere or are not known",
                atoms,
                row,
            )
        else:
            flow.pin(f"'{op.name}' spreads it over several channels", row)
    flow.rows[op.makes[0]] = Row(len(shape) + place, atoms)


def _keep_own(flow: Flow, op: Op) -> None:
    """The same for a layer with weights for each entry of axis 1."""
    keep(flow, op)
    row = flow.rows[op.makes[0]]
    if row is not None and row.axis == 1 and op.arguments.get("num_parameters") != 1:
        _follow(flow, op, Row(0, row.atoms))


def _expand(flow: Flow, op: Op) -> None:
    """The same, where the code may say how many channels there are."""
    keep(flow, op)
    pin_if_counted(flow, op)


def pin_if_counted(flow: Flow, op: Op) -> None:
    """Channels stay where the code writes their number into the shape of the result."""
    row, sizes = flow.rows[op.makes[0]], op.arguments.get("sizes", ())
    if (
        row is not None
        and len(sizes) == len(flow.shape(op.makes[0]))
        and sizes[row.axis] == len(row.atoms)
    ):
        flow.pin(f"the code says how many channels '{op.name}' gives", row)


def _normalise(flow: Flow, op: Op) -> None:
    """Keeps channels apart unless it runs over their axis."""
    keep(flow, op)
    row, dim = flow.rows[op.makes[0]], op.arguments.get("dim", 1)
    dim = 1 if dim is None else dim
    if row is not None and row.axis == dim % len(flow.shape(op.makes[0])):
        flow.across.append(op.name)


def _group_norm(flow: Flow, op: Op) -> None:
    """Takes statistics over the channels of a group: every group keeps as many."""
    groups = int(op.arguments["num_groups"])
    _keep_own(flow, op)
    row = flow.rows[op.makes[0]]
    flow.across.append(op.name)
    if row is None:
        return
    if groups == len(row.atoms):
        flow.pin(f"'{op.name}' has as many groups as channels", row)
    else:
        flow.tie_parts(row.atoms.reshape(groups, -1))


def _layer_norm(flow: Flow, op: Op) -> None:
    """Takes statistics over the last axes."""
    row, size = flow.rows[op.reads[0]], len(flow.shape(op.reads[0]))
    keep(flow, op)
    if row is not None and row.axis >= size - len(op.arguments["normalized_shape"]):
        flow.across.append(op.name)
        if row.axis == size - 1 and len(op.arguments["normalized_shape"]) == 1:
            _follow(flow, op, Row(0, row.atoms))
        else:
            flow.pin(f"'{op.name}' normalises over channels and pixels", row)


def _reduce(flow: Flow, op: Op) -> None:
    """A mean or a sum over some axes."""
    row, shape = flow.rows[op.reads[0]], flow.shape(op.reads[0])
    dim = op.arguments.get("dim")
    gone = {
        axis % len(shape) for axis in ([dim] if isinstance(dim, int) else dim or range(len(shape)))
    }
    if row is None or row.axis in gone:
        flow.across += [] if row is None else [op.name]
        flow.rows[op.makes[0]] = None
    else:
        before = (
            0
            if len(flow.shape(op.makes[0])) == len(shape)
            else sum(axis < row.axis for axis in gone)
        )
        flow.rows[op.makes[0]] = Row(row.axis - before, row.atoms)


def opaque(flow: Flow, op: Op) -> None:
    """Reads channels in a way that is not followed."""
    flow.pin(f"'{op.name}' does not keep its channels apart", *flow.operands(op))
    flow.rows |= dict.fromkeys(op.makes)


COMPUTING: dict[str, Callable[[Flow, Op], Any]] = {
    "mix": _mix,
    "mix_last": _mix_last,
    "keep": keep,
    "keep_own": _keep_own,
    "expand": _expand,
    "normalise": _normalise,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "reduce": _reduce,
    "opaque": opaque,
}

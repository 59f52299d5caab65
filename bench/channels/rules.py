"""The pass over a graph that applies the channel rule of every operator."""

from collections.abc import Collection

import numpy as np

from bench.channels.compute_rules import COMPUTE_RULES
from bench.channels.contraction_rules import CONTRACTION_RULES
from bench.channels.propagation import UNKNOWN, ChannelRow, Flow, Rewrite
from bench.channels.shape_rules import SHAPE_RULES
from bench.graph.ir import Graph, Op

RULES = COMPUTE_RULES | SHAPE_RULES | CONTRACTION_RULES
SECOND_ROWS = (
    "keep",
    "keep_first",
    "normalise",
    "reshape",
    "permute",
    "transpose",
    "transpose_last",
    "matmul",
    "einsum",
)  # rules that know them


def propagate_channels(graph: Graph) -> Flow:
    """Propagate the channels of a network from its inputs to its outputs.

    Heads of attention lose the same channels each, unless their map (tokens x tokens) is larger
    than the queries or the keys: then only removing whole heads saves much memory. Where all heads
    are tied, or there is one, they lose channels.
    """
    whole: frozenset[str] = frozenset()
    single: frozenset[str] = frozenset()
    while True:
        flow = _propagate(graph, whole, single)
        large = {atoms.tobytes() for atoms in flow.large_maps}
        found = {name for name, parts in flow.cuts.items() if parts[0].tobytes() in large}
        label = flow.connect() if flow.by_heads else np.empty(0)
        lone = {name for name in flow.by_heads if len(set(label[flow.cuts[name][0]])) == 1}
        if found <= whole and lone <= single:
            return flow
        whole |= found
        single |= lone


def _propagate(graph: Graph, whole_heads: frozenset[str], single_heads: frozenset[str]) -> Flow:
    flow = Flow(graph, whole_heads=whole_heads, single_heads=single_heads)
    flow.pin("the origin of its channels is unknown", np.array([UNKNOWN]))
    for name in graph.inputs:
        shape = flow.shape(name)
        axis = min(1, len(shape) - 1)
        flow.rows[name] = ChannelRow(axis, flow.new_atoms(shape[axis]))
        flow.pin("it is joined to an input of the network", flow.rows[name])
    for name in graph.weights:
        flow.rows[name] = _add_weight(flow, name)
    for op in graph.ops:
        flow.line = op.line
        flow.wants_rewriting |= op.rule.channels in CONTRACTION_RULES
        if op.rule.channels not in SECOND_ROWS:
            flow.pin(
                f"'{op.name}' reads channels along two axes",
                *(flow.second_rows.get(name) for name in op.reads),
            )
        RULES[op.rule.channels](flow, op)
        _handle_sizes(flow, op)
        _note_lost_rows(flow, op)
    flow.line = ""
    _settle_decisions(flow)
    for name in graph.outputs:
        flow.pin("it is an output of the network", flow.rows[name])
    for name in graph.shared:
        flow.pin(
            _describe_sharing(name, graph.shared),
            flow.makes.get(name),
            flow.reads.get(name),
            flow.followers.get(name),
        )
    return flow


def _describe_sharing(name: str, shared: Collection[str]) -> str:
    """Return why a layer or weight stays whole, of those that share a weight."""
    parent = name.rpartition(".")[0]
    layer = parent if parent in shared else name
    if layer != name or any(other.startswith(f"{name}.") for other in shared):
        return (
            f"the code of a forward uses a weight of '{layer}' beside the layer itself, as it does "
            "where it merges branches for inference"
        )
    return f"'{name}' shares a weight with another layer"


def _handle_sizes(flow: Flow, op: Op) -> None:
    """Handle an operator that computes with the number of channels of another value.

    If it makes that many channels itself, both are tied; else they are pinned. In a graph that may
    be rewritten, a rule has written what follows the channels, and all other numbers stay.
    """
    result = flow.rows[op.makes[0]]
    for number in op.numbers:
        for name, axis in number.sizes:
            if not flow.is_channel_axis((name, axis)):
                continue
            row = flow.rows[name]
            if flow.graph.rewritable or row is None:
                if (op.name, number.path) not in flow.rewrites:
                    flow.rewrite(op, number.path, None, number.number)
            elif (
                op.rule.channels in ("reshape", "expand")
                and result is not None
                and len(result.atoms) == len(row.atoms)
            ):
                flow.tie(result.atoms, row.atoms)
            else:
                flow.may_rewrite()
                flow.pin(f"'{op.name}' computes with the number of its channels", row)


def _note_lost_rows(flow: Flow, op: Op) -> None:
    """Note why what an operator makes has no channels, if what it reads has some."""
    reasons = [flow.lost[name] for name in op.reads if name in flow.lost]
    if any(row is not None for row in flow.operands(op)):
        reasons = [f"'{op.name}' does not keep its channels apart{op.line}", *reasons]
    if reasons:
        flow.lost |= {name: reasons[0] for name in op.makes if flow.rows[name] is None}


def _settle_decisions(flow: Flow) -> None:
    """Let no check compare numbers of channels, which the pruned network changes."""
    for name, sizes in flow.graph.decisions.items():
        if any(map(flow.is_channel_axis, sizes)):
            flow.rewrites[name, (0,)] = Rewrite(name, (0,), None, True)


def _add_weight(flow: Flow, name: str) -> ChannelRow | None:
    """Return the row of a weight that the code reads directly.

    If only one axis is longer than 1, it has an entry for each channel of the value it meets.
    """
    long_axes = [axis for axis, size in enumerate(flow.shape(name)) if size > 1]
    if len(long_axes) != 1:
        return None
    axis = long_axes[0]
    flow.followers[name] = ChannelRow(axis, flow.new_atoms(flow.shape(name)[axis]))
    return flow.followers[name]

"""How channels flow through matrix products of two values, as in attention."""

from collections.abc import Callable, Sequence
from typing import Any

from bench.channels.compute_rules import pin_operands
from bench.channels.propagation import Atoms, ChannelRow, Flow
from bench.graph.ir import Op


def _matmul(flow: Flow, op: Op) -> None:
    """Apply the rule of (..., m, k) @ (..., k, n) = (..., m, n)."""
    first, second = (len(flow.shape(name)) for name in op.reads[:2])
    if len(op.reads) != 2 or min(first, second) < 2:
        return pin_operands(flow, op)
    batch = "abcdefgh"[: max(first, second) - 2]
    contract(
        flow,
        op,
        [batch[len(batch) - first + 2 :] + "mk", batch[len(batch) - second + 2 :] + "kn"],
        batch + "mn",
    )


def _einsum(flow: Flow, op: Op) -> None:
    """Apply the rule of einsum("bhid,bhjd->bhij", x, y)."""
    equation = op.arguments.get("equation")
    if not isinstance(equation, str) or "." in equation or "->" not in equation:
        return pin_operands(flow, op)
    inputs, output = equation.replace(" ", "").split("->")
    contract(flow, op, inputs.split(","), output)


def _attention(flow: Flow, op: Op) -> None:
    """Apply the rule of softmax(queries @ keys.T) @ values, each (..., tokens, channels)."""
    queries, keys, values = (flow.rows[name] for name in op.reads[:3])
    last = len(flow.shape(op.reads[0])) - 1
    if len(op.reads) != 3 or any(
        row is not None and row.axis != last for row in (queries, keys, values)
    ):
        return pin_operands(flow, op)
    if queries is None or keys is None:
        flow.pin(
            f"'{op.name}' compares it with a value whose channels are not known", queries, keys
        )
    else:
        flow.tie(queries.atoms, keys.atoms)
        flow.cross_channel_ops.append(op.name)
    flow.rows[op.makes[0]] = values


def contract(flow: Flow, op: Op, inputs: Sequence[str], output: str) -> None:
    """Apply the rule of a sum of products, written as in einsum: one letter for each axis.

    Axes with the same letter have the same channels. If two letters of the result have channels,
    the later one becomes its second row.
    """
    atoms_of: dict[str, Atoms] = {}
    rows = [row for name in op.reads for row in (flow.rows[name], flow.second_rows.get(name))]
    for position, row in enumerate(rows):
        if row is None:
            continue
        letter = inputs[position // 2][row.axis]
        if len(row.atoms) > 1:
            flow.tie(atoms_of.setdefault(letter, row.atoms), row.atoms)
    for position, name in enumerate(op.reads):
        known = {inputs[position][row.axis] for row in rows[2 * position : 2 * position + 2] if row}
        for axis, letter in enumerate(inputs[position]):
            if letter in atoms_of and letter not in known and flow.shape(name)[axis] > 1:
                flow.pin(
                    f"'{op.name}' multiplies it with a value whose channels are not known",
                    atoms_of[letter],
                )
                # If this axis is that of heads, the other operand has to lose whole heads too.
                flow.large_maps += [
                    row.atoms for row in rows[2 * position : 2 * position + 2] if row
                ]
    flow.cross_channel_ops += [] if atoms_of.keys() <= set(output) else [op.name]
    kept = [
        ChannelRow(axis, atoms_of[letter])
        for axis, letter in enumerate(output)
        if letter in atoms_of
    ]
    flow.rows[op.makes[0]] = kept[0] if kept else None
    values = flow.graph.values
    if not kept and values[op.makes[0]].size_bytes > min(
        values[name].size_bytes for name in op.reads
    ):
        flow.large_maps += [row.atoms for row in rows if row is not None]
    if len(kept) > 1:
        flow.second_rows[op.makes[0]] = kept[1]
    for row in kept[2:]:
        flow.pin(f"'{op.name}' has more than two axes of channels", row)


CONTRACTION_RULES: dict[str, Callable[[Flow, Op], Any]] = {
    "matmul": _matmul,
    "einsum": _einsum,
    "attention": _attention,
}

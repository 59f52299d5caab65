"""Remove writes in place: every operator gives a new value, so that operators may move and split.

A write stays where another node still reads the overwritten value (through a view).
"""

from copy import copy
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from bench.graph.node_operators import CALL_NODES, called_layer, operator_name
from bench.lean.alias_analysis import AliasAnalysis

OUT_OF_PLACE: dict[str, Any] = {
    "iadd": torch.add,
    "isub": torch.sub,
    "imul": torch.mul,
    "itruediv": torch.div,
}
POOLING_ARGUMENTS = (
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "ceil_mode",
    "return_indices",
)
IDENTITIES = ("Identity", "Dropout", "Dropout2d", "AlphaDropout", "dropout", "dropout2d")


def simplify_calls(traced: GraphModule) -> None:
    """Bring the calls of a traced network, in place, into the form that the rewrites know.

    Operators that change nothing in eval mode are removed, `inplace` is passed by name, and
    F.max_pool2d becomes a layer.
    """
    for node in list(traced.graph.nodes):
        is_in_eval_mode = node.kwargs.get("training", True) is False or node.op == "call_module"
        if (
            node.op in ("call_module", "call_function")
            and operator_name(traced, node) in IDENTITIES
            and is_in_eval_mode
            and node.all_input_nodes  # not of a number
        ):
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
        elif operator_name(traced, node) == "max_pool2d" and len(node.all_input_nodes) == 1:
            _call_pooling_layer(traced, node)
        elif (
            node.op == "call_function"
            and getattr(F, getattr(node.target, "__name__", ""), None) is node.target
            and len(node.args) > 1
        ):
            _pass_inplace_by_name(node)


def read_sizes_early(analysis: AliasAnalysis) -> None:
    """Move what reads no data (x.shape, and what is computed from it) behind what it reads.

    A value whose size is read late, to pad another value to it, would live that long.
    """
    for node in list(analysis.traced.graph.nodes):
        reads = node.all_input_nodes
        if reads and node.op in CALL_NODES and analysis.is_plain(node):
            max(reads).append(node)
    analysis.update()


def functionalize(analysis: AliasAnalysis) -> bool:
    """Change the traced network so that nothing is written in place; return whether that worked."""
    is_functional = True
    for node in analysis.traced.graph.nodes:
        if not analysis.writes_in_place(node):
            continue
        target = node.all_input_nodes[0]
        is_kept = _is_old_value_read(analysis, node, target)
        if (
            is_kept
            or _changes_type(analysis, node)
            or not _make_out_of_place(analysis.traced, node)
        ):
            is_functional = False
            continue
        for user in [user for user in target.users if analysis.order[user] > analysis.order[node]]:
            user.replace_input_with(target, node)
        analysis.update()
    return is_functional


def _is_old_value_read(analysis: AliasAnalysis, node: Node, target: Node) -> bool:
    """Return whether an alias made before the write is read after it."""
    position = analysis.order[node]
    return any(
        analysis.order[alias] < position < analysis.last_read(alias)
        for alias in analysis.aliases(target) - {node}
    )


def _changes_type(analysis: AliasAnalysis, node: Node) -> bool:
    """Return whether an operator would give another type if it did not write in place."""
    operands = [read for read in map(analysis.tensor, node.all_input_nodes) if read is not None]
    written, *others = operands
    return any(torch.result_type(written, other) != written.dtype for other in others)


def _make_out_of_place(traced: GraphModule, node: Node) -> bool:
    """Replace an in-place operator by its out-of-place form; return whether there is one."""
    layer = called_layer(traced, node)
    name = operator_name(traced, node)
    if layer is not None:
        out_of_place = copy(layer)
        out_of_place.inplace = False  # type: ignore[assignment]
        node.target = f"{node.name}_out_of_place"
        traced.add_submodule(node.target, out_of_place)
    elif node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
    elif node.op == "call_method" and hasattr(Tensor, name.rstrip("_")):
        node.target = name.rstrip("_")
    else:
        function = (
            OUT_OF_PLACE.get(name)
            or getattr(torch, name.rstrip("_"), None)
            or getattr(F, name.rstrip("_"), None)
        )
        node.target = function or node.target
        return function is not None
    return True


def _call_pooling_layer(traced: GraphModule, node: Node) -> None:
    """Rewrite F.max_pool2d(x, 2) as nn.MaxPool2d(2)(x)."""
    given: dict[str, Any] = dict(node.kwargs)
    given |= dict(zip(("input", *POOLING_ARGUMENTS), node.args, strict=False))
    node.args, node.kwargs = (given.pop("input"),), {}
    node.op, node.target = "call_module", f"{node.name}_layer"
    traced.add_submodule(node.target, nn.MaxPool2d(**given))


def _pass_inplace_by_name(node: Node) -> None:
    """Rewrite F.relu(x, True) as F.relu(x, inplace=True)."""
    try:
        parameters = list(signature(node.target).parameters)  # type: ignore[arg-type]
    except ValueError:  # a function written in C: it has no such argument
        return
    if "inplace" in parameters[: len(node.args)]:
        named = dict(zip(parameters[1:], node.args[1:], strict=False))
        node.args = node.args[:1]
        node.kwargs = {**named, **node.kwargs}

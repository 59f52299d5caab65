"""Find the row of the operator table for a node, and whether the node writes in place.

The plan (`bench.graph.lowering`) and the lean executor (`bench.lean`) both ask these functions, so
that they cannot disagree about a node.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from bench.graph.operators import BATCH_STATISTICS_LAYERS, CALLS, LAYERS, Operator
from bench.graph.tracing import torch_class_name

CALL_NODES = ("call_module", "call_function", "call_method")
ASSIGNMENTS = ("iadd", "isub", "imul", "itruediv", "set_item")  # `x += y`, `x[i] = y`


def called_layer(traced: GraphModule, node: Any) -> nn.Module | None:
    """Return the layer that a node calls; None if it calls none."""
    if not isinstance(node, Node) or node.op != "call_module":
        return None
    return traced.get_submodule(str(node.target))


def operator_name(traced: GraphModule, node: Node) -> str:
    """Return the class name of the called layer, else the name of the function or tensor method."""
    layer = called_layer(traced, node)
    if layer is not None:
        return torch_class_name(layer) or type(layer).__name__
    if isinstance(node.target, str):
        return node.target
    return getattr(node.target, "__name__", str(node.target))


def find_operator(
    traced: GraphModule, node: Node, results: Mapping[str, Any] | None = None
) -> Operator | None:
    """Return the row of the operator table for a node; None if the table has none.

    Args:
        traced: the network of the node.
        node: any node; None is returned for one that calls nothing.
        results: node name -> its result. With it, x[index] is "[tensor]" unless the index consists
            of slices and integers only. Without it, x[index] is always a view, whose memory may
            be shared.
    """
    if node.op not in CALL_NODES:
        return None
    name = operator_name(traced, node).rstrip("_")
    layer = called_layer(traced, node)
    if layer is not None:
        has_running_statistics = getattr(layer, "track_running_stats", True) is not False
        return (LAYERS if has_running_statistics else BATCH_STATISTICS_LAYERS).get(name)
    if name == "getitem" and results is not None and not _is_basic_index(node.args[1], results):
        name = "[tensor]"
    if node.op == "call_method" and f".{name}" in CALLS:
        name = f".{name}"  # a method that is not the function of that name
    return CALLS.get(name)


def writes_in_place(traced: GraphModule, node: Node) -> bool:
    """Return whether the code of a node asks to overwrite an operand."""
    if node.op not in CALL_NODES:
        return False
    layer = called_layer(traced, node)
    if layer is not None:
        return bool(getattr(layer, "inplace", False))
    name = operator_name(traced, node)
    return name.endswith("_") or name in ASSIGNMENTS or node.kwargs.get("inplace") is True


def _is_basic_index(index: Any, results: Mapping[str, Any]) -> bool:
    """Return whether x[index] uses slices and integers only, so that it is a view."""
    parts = index if isinstance(index, tuple) else (index,)
    known = [results[part.name] if isinstance(part, Node) else part for part in parts]
    return all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in known)

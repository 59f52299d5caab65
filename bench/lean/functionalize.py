"""The network without writing in place: every operator gives a new value, so that operators may be moved and split.

Where somebody else still reads what is written (through a view), the write stays.
"""

from copy import copy
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from bench.lean.alias_analysis import Values, layer_of, name_of

TWINS: dict[str, Any] = {
    "iadd": torch.add,
    "isub": torch.sub,
    "imul": torch.mul,
    "itruediv": torch.div,
}
SAME = ("Identity", "Dropout", "Dropout2d", "AlphaDropout", "dropout", "dropout2d")


def plain(traced: GraphModule) -> None:
    """In place: readers of what changes nothing in eval mode read its operand, and `inplace` is given by name."""
    for node in list(traced.graph.nodes):
        named = node.kwargs.get("training", True) is False or node.op == "call_module"
        if node.op in ("call_module", "call_function") and name_of(traced, node) in SAME and named:
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
        elif (
            node.op == "call_function"
            and getattr(F, getattr(node.target, "__name__", ""), None) is node.target
            and len(node.args) > 1
        ):
            _name_inplace(node)


def make_pure(values: Values) -> bool:
    """Changes the traced network; whether nothing is written in place any more."""
    pure = True
    for node in values.traced.graph.nodes:
        if not values.writes(node):
            continue
        target = node.all_input_nodes[0]
        if _is_seen(values, node, target) or not _write_elsewhere(values.traced, node):
            pure = False
            continue
        for user in [user for user in target.users if values.order[user] > values.order[node]]:
            user.replace_input_with(target, node)
        values.relate()
    return pure


def _is_seen(values: Values, node: Node, target: Node) -> bool:
    """Whether what was there before is still read after the write through another name of the memory."""
    place = values.order[node]
    return any(
        values.order[other] < place < values.last_read(other)
        for other in values.sharing(target) - {node}
    )


def _write_elsewhere(traced: GraphModule, node: Node) -> bool:
    """Makes a node that writes in place its ordinary twin; whether there is one."""
    layer, name = layer_of(traced, node), name_of(traced, node)
    if layer is not None:
        apart = copy(layer)
        apart.inplace = False  # type: ignore[assignment]
        node.target = f"{node.name}_apart"
        traced.add_submodule(node.target, apart)
    elif node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
    elif node.op == "call_method" and hasattr(Tensor, name.rstrip("_")):
        node.target = name.rstrip("_")
    else:
        twin = (
            TWINS.get(name)
            or getattr(torch, name.rstrip("_"), None)
            or getattr(F, name.rstrip("_"), None)
        )
        node.target = twin or node.target
        return twin is not None
    return True


def _name_inplace(node: Node) -> None:
    """F.relu(x, True) as F.relu(x, inplace=True)."""
    try:
        places = list(signature(node.target).parameters)  # type: ignore[arg-type]
    except ValueError:  # written in C: it has no such argument
        return
    if "inplace" in places[: len(node.args)]:
        named = dict(zip(places[1:], node.args[1:], strict=False))
        node.args, node.kwargs = node.args[:1], {**named, **node.kwargs}

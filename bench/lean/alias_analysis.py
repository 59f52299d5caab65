"""What the nodes of a traced network give, on meta tensors, and which of them may share memory."""

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from bench.contract import Inputs
from bench.graph.operators import CALLS, LAYERS, STATISTICS, Operator
from bench.graph.tracing import meta_inputs, on_meta, torch_layer
from bench.units import shapes_of

WRITING = ("iadd", "isub", "imul", "itruediv")  # `x += y` and its like


class _Noting(Interpreter):
    """Runs a network node by node and keeps the results."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.results: dict[str, Any] = {}

    def run_node(self, n: Node) -> Any:
        """The result of one node, kept by its name."""
        self.results[n.name] = result = super().run_node(n)
        return result


class Values:
    """A traced network at one input shape.

    Args:
        traced: read, not changed.
        shape: of the input, or of the inputs.
    """

    def __init__(self, traced: GraphModule, shape: Inputs) -> None:
        shadow = on_meta(traced)
        noting = _Noting(shadow)  # type: ignore[arg-type]
        with torch.no_grad():
            noting.run(*meta_inputs(shadow, shapes_of(shape)))
        self.traced, self.results = traced, noting.results
        self.order: dict[Node, int] = {}
        self.roots: dict[Node, frozenset[Node]] = {}  # the nodes in whose memory a node may lie
        self.relate()

    def relate(self) -> None:
        """Finds again who lies where, after a change of the graph that kept its nodes."""
        self.order = {node: place for place, node in enumerate(self.traced.graph.nodes)}
        self.roots = {}
        for node in self.traced.graph.nodes:
            self.roots[node] = self._roots(node)

    def tensor(self, node: Any) -> Tensor | None:
        """What a node gives, if that is one tensor."""
        result = self.results.get(node.name) if isinstance(node, Node) else None
        return result if isinstance(result, Tensor) else None

    def sharing(self, node: Node) -> set[Node]:
        """All other nodes that may lie where this one lies."""
        return {
            other
            for other, roots in self.roots.items()
            if other is not node and roots & self.roots[node]
        }

    def last_read(self, node: Node) -> int:
        """The place of the last node that reads it; its own if there is none."""
        return max((self.order[user] for user in node.users), default=self.order[node])

    def writes(self, node: Node) -> bool:
        """Whether a node overwrites a tensor because the code asks for it."""
        return self.tensor(node) is not None and writes(self.traced, node)

    def _roots(self, node: Node) -> frozenset[Node]:
        if node.op == "output" or not _has_tensors(self.results[node.name]):
            return frozenset()
        if node.op in ("placeholder", "get_attr"):
            return frozenset({node})
        rule = rule_of(self.traced, node)
        lies_apart = (
            rule is not None
            and rule.memory in ("allocate", "elementwise")
            and not writes(self.traced, node)
        )
        if lies_apart or name_of(self.traced, node) in ("cat", "concat", "concatenate", "InStrips"):
            return frozenset({node})
        return frozenset().union(*(self.roots[read] for read in node.all_input_nodes)) or frozenset(
            {node}
        )


def layer_of(traced: GraphModule, node: Any) -> nn.Module | None:
    """The layer that a node calls, if it calls one."""
    return (
        traced.get_submodule(str(node.target))
        if isinstance(node, Node) and node.op == "call_module"
        else None
    )


def name_of(traced: GraphModule, node: Node) -> str:
    """Of the operator: the class of a layer, the name of a function or of a tensor method."""
    layer = layer_of(traced, node)
    if layer is not None:
        return torch_layer(layer) or type(layer).__name__
    return (
        node.target
        if isinstance(node.target, str)
        else getattr(node.target, "__name__", str(node.target))
    )


def rule_of(traced: GraphModule, node: Node) -> Operator | None:
    """The row of the operator table; None where there is none."""
    if node.op not in ("call_module", "call_function", "call_method"):
        return None
    layer, name = layer_of(traced, node), name_of(traced, node)
    if layer is None:
        return CALLS.get(name.rstrip("_"))
    return (STATISTICS if getattr(layer, "track_running_stats", True) is False else LAYERS).get(
        name
    )


def writes(traced: GraphModule, node: Node) -> bool:
    """Whether the code asks for an operand to be overwritten."""
    layer, name = layer_of(traced, node), name_of(traced, node)
    if layer is not None:
        return bool(getattr(layer, "inplace", False))
    return node.op in ("call_function", "call_method") and (
        name.endswith("_") or name in WRITING or node.kwargs.get("inplace") is True
    )


def is_part(node: Node) -> bool:
    """Whether a node takes one of several results of a call."""
    return node.target is operator.getitem and isinstance(node.args[1], int)


def _has_tensors(result: Any) -> bool:
    return any(
        isinstance(part, Tensor)
        for part in (result if isinstance(result, tuple | list) else (result,))
    )

"""Results of the nodes of a traced network on meta tensors, and which nodes may share memory."""

import operator
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from bench.contract import Inputs
from bench.graph import node_operators
from bench.graph.meta_run import copy_to_meta, run_nodes
from bench.graph.node_operators import find_operator, operator_name
from bench.units import as_shapes

ALWAYS_COPYING = ("cat", "concat", "concatenate", "StripwiseLayer")


class AliasAnalysis:
    """A traced network at one input shape.

    Args:
        traced: read, not changed.
        shape: of the input, or of the inputs.
    """

    def __init__(self, traced: GraphModule, shape: Inputs) -> None:
        self.traced = traced
        self.results = run_nodes(copy_to_meta(traced), as_shapes(shape))
        self.order: dict[Node, int] = {}
        self.roots: dict[Node, frozenset[Node]] = {}  # nodes in whose memory a node may lie
        self.update()

    def update(self) -> None:
        """Recompute the roots after a change of the graph that kept its nodes."""
        self.order = {node: position for position, node in enumerate(self.traced.graph.nodes)}
        self.roots = {}
        for node in self.traced.graph.nodes:
            self.roots[node] = self._find_roots(node)

    def tensor(self, node: Any) -> Tensor | None:
        """Return the result of a node if it is one tensor, else None."""
        result = self.results.get(node.name) if isinstance(node, Node) else None
        return result if isinstance(result, Tensor) else None

    def is_plain(self, node: Node) -> bool:
        """Return whether the result of a node is a number or the like, without any tensor."""
        result = self.results[node.name]
        return result is not None and not tensors_in(result)

    def aliases(self, node: Node) -> set[Node]:
        """Return all other nodes that may share memory with a node."""
        return {
            other
            for other, roots in self.roots.items()
            if other is not node and roots & self.roots[node]
        }

    def last_read(self, node: Node) -> int:
        """Return the position of the last reader of a node; its own position if it has none."""
        return max((self.order[user] for user in node.users), default=self.order[node])

    def writes_in_place(self, node: Node) -> bool:
        """Return whether a node overwrites a tensor because the code asks for it."""
        return self.tensor(node) is not None and node_operators.writes_in_place(self.traced, node)

    def _find_roots(self, node: Node) -> frozenset[Node]:
        if node.op == "output" or not tensors_in(self.results[node.name]):
            return frozenset()
        if node.op in ("placeholder", "get_attr"):
            return frozenset({node})
        rule = find_operator(self.traced, node)
        allocates = (
            rule is not None
            and rule.memory in ("allocate", "elementwise")
            and not node_operators.writes_in_place(self.traced, node)
        )
        if allocates or operator_name(self.traced, node) in ALWAYS_COPYING:
            return frozenset({node})
        roots = frozenset().union(*(self.roots[read] for read in node.all_input_nodes))
        return roots or frozenset({node})


def is_part(node: Node) -> bool:
    """Return whether a node picks one of several results of a call."""
    return node.target is operator.getitem and isinstance(node.args[1], int)


def tensors_in(result: Any) -> list[Tensor]:
    """Return the tensors among the results of a call."""
    parts = result if isinstance(result, tuple | list) else (result,)
    return [part for part in parts if isinstance(part, Tensor)]

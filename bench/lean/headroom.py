"""Free memory beside each operator, and the operators that need more than that.

An operator may use more than planned without making a new peak, up to the planned peak minus the
bytes that are alive while it runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.fx import GraphModule, Node

from bench.contract import Inputs
from bench.graph.lowering import trace
from bench.graph.node_operators import CALL_NODES, called_layer, operator_name
from bench.graph.tracing import node_names
from bench.lean.alias_analysis import AliasAnalysis
from bench.lean.strips import strip_obstacle
from bench.memory.liveness import liveness

MIN_EXCESS_SHARE = 0.01  # of the planned peak: a smaller excess is not reported
INDEX_SHARE = 2  # of a pooling: its int64 indices have twice the bytes of its float32 result
REASONS = {
    "cat": "a concat whose readers cannot read its parts is copied",
    "shuffle": "pixels are shuffled by copying",
    "elementwise": "no operand of it may be overwritten",
    "norm": "an instance normalisation copies its input into another layout",
}
INSTANCE_NORMS = ("instance_norm", "InstanceNorm2d")  # as PyTorch computes them
COPIES = dict.fromkeys(("cat", "concat", "concatenate"), "cat") | dict.fromkeys(
    ("PixelShuffle", "pixel_shuffle", "PixelUnshuffle", "pixel_unshuffle"), "shuffle"
)


@dataclass(frozen=True)
class Excess:
    """An operator without a lean form that alone exceeds the planned peak.

    Args:
        op: its name.
        bytes: by which it exceeds the planned peak.
        reason: why it has no lean form.
    """

    op: str
    bytes: int
    reason: str


class Headroom:
    """The bytes that the plan leaves free, by the nodes of a network before it is rewritten.

    Args:
        model: the network.
        traced: its traced form, or a copy of that.
        shape: of its inputs.
    """

    def __init__(self, model: nn.Module, traced: GraphModule, shape: Inputs) -> None:
        graph = trace(model, shape)
        plan = liveness(graph, "planned")
        self.names = node_names(traced)
        self.positions = {op.name: position for position, op in enumerate(graph.ops)}
        live_bytes = [
            sum(
                storage.size_bytes
                for storage in plan.storages
                if storage.birth <= position <= storage.death
            )
            for position in range(len(graph.ops))
        ]
        self.peak = max((live_bytes[position] for position in plan.steps), default=0)
        self.free = [self.peak - size for size in live_bytes]
        self.allocates = set(plan.steps)

    def free_at(self, node: Node) -> int:
        """Return the bytes that are free while a node runs; 0 where that is not known."""
        position = self._position(node)
        return 0 if position is None else self.free[position]

    def free_until_read(self, node: Node) -> int:
        """Return the bytes that are free while a node and all its readers run; 0 if not known."""
        if self._position(node) is None:
            return 0
        positions = [self._position(reader) for reader in (node, *node.users)]
        known = [position for position in positions if position is not None]
        return min(self.free[min(known) : max(known) + 1])

    def plans_overwrite(self, node: Node) -> bool:
        """Return whether a node overwrites an operand according to the plan."""
        position = self._position(node)
        return position is not None and position not in self.allocates

    def _position(self, node: Node) -> int | None:
        return self.positions.get(self.names.get(node, ""))


def find_excess(
    analysis: AliasAnalysis, headroom: Headroom, allocating: Iterable[Node]
) -> tuple[Excess, ...]:
    """Return the operators of a rewritten network that need more bytes than are free.

    Args:
        analysis: of the rewritten network.
        headroom: of the network before.
        allocating: elementwise operators that overwrite nothing.
    """
    needs: list[tuple[Node, int, str]] = []
    for node in analysis.traced.graph.nodes:
        result = analysis.tensor(node)
        if result is None or node.op not in CALL_NODES:
            continue
        layer = called_layer(analysis.traced, node)
        copy_kind = COPIES.get(operator_name(analysis.traced, node))
        obstacle = None
        if isinstance(layer, nn.ConvTranspose2d | nn.MaxPool2d | nn.Conv2d):
            obstacle = strip_obstacle(layer)
        if obstacle:
            share = INDEX_SHARE if isinstance(layer, nn.MaxPool2d) else 1
            needs.append((node, share * result.nbytes - headroom.free_at(node), obstacle))
        elif operator_name(analysis.traced, node) in INSTANCE_NORMS:
            needs.append((node, result.nbytes - headroom.free_at(node), REASONS["norm"]))
        elif copy_kind is not None:
            excess_bytes = result.nbytes - headroom.free_until_read(node)
            needs.append((node, excess_bytes, REASONS[copy_kind]))
    for node in allocating:
        result = analysis.tensor(node)
        if result is not None and headroom.plans_overwrite(node):
            excess_bytes = result.nbytes - headroom.free_until_read(node)
            needs.append((node, excess_bytes, REASONS["elementwise"]))
    return tuple(
        Excess(headroom.names.get(node, node.name), excess_bytes, reason)
        for node, excess_bytes, reason in needs
        if excess_bytes > MIN_EXCESS_SHARE * headroom.peak
    )

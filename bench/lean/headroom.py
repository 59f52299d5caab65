"""How much more than planned an operator may need before it makes a new peak, and the operators that need more than that."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.fx import GraphModule, Node

from bench.contract import Inputs
from bench.graph.lowering import trace
from bench.graph.tracing import node_names
from bench.lean.alias_analysis import Values, layer_of, name_of
from bench.lean.tiling import why_not_in_strips
from bench.memory.liveness import liveness

SHOWN = 0.01  # of the planned peak: less is not worth a line
INDEX_SHARE = 2  # of a pooling: indices have twice the bytes of its float32 result
REASONS = {
    "cat": "a concat whose readers cannot read its parts is copied",
    "shuffle": "pixels are shuffled by copying",
    "elementwise": "no operand of it may be overwritten",
}
COPIES = dict.fromkeys(("cat", "concat", "concatenate"), "cat") | dict.fromkeys(
    ("PixelShuffle", "pixel_shuffle", "PixelUnshuffle", "pixel_unshuffle"), "shuffle"
)


@dataclass(frozen=True)
class Excess:
    """An operator without a lean form: its name, the bytes by which it alone exceeds the planned peak, and why."""

    op: str
    bytes: int
    reason: str


class Room:
    """The plan of a network, by the nodes of its traced form before it is rewritten.

    Args:
        model: the network.
        traced: its traced form, or a copy of that.
        shape: of its inputs.
    """

    def __init__(self, model: nn.Module, traced: GraphModule, shape: Inputs) -> None:
        graph = trace(model, shape)
        plan = liveness(graph, "planned")
        self.names = node_names(traced)
        self.places = {op.name: place for place, op in enumerate(graph.ops)}
        alive = [
            sum(each.size_bytes for each in plan.storages if each.birth <= place <= each.death)
            for place in range(len(graph.ops))
        ]
        self.peak = max((alive[place] for place in plan.steps), default=0)
        self.free = [self.peak - size for size in alive]
        self.allocates = set(plan.steps)

    def beside(self, node: Node) -> int:
        """Bytes that are free while the node and all its readers run; none where that is not known."""
        places = [self.places.get(self.names.get(each, "")) for each in (node, *node.users)]
        known = [place for place in places if place is not None]
        return min(self.free[min(known) : max(known) + 1]) if known and places[0] is not None else 0

    def at(self, node: Node) -> int:
        """Bytes that are free while the node runs; none where that is not known."""
        place = self.places.get(self.names.get(node, ""))
        return 0 if place is None else self.free[place]

    def is_overwriting(self, node: Node) -> bool:
        """Whether the plan has it that the node overwrites an operand."""
        place = self.places.get(self.names.get(node, ""))
        return place is not None and place not in self.allocates


def remaining(values: Values, room: Room, allocating: Iterable[Node]) -> tuple[Excess, ...]:
    """Operators of a rewritten network that need more than there is room for.

    Args:
        values: of the rewritten network.
        room: of the network before.
        allocating: elementwise operators that overwrite nothing.
    """
    found = []
    for node in values.traced.graph.nodes:
        made, layer, kind = (
            values.tensor(node),
            layer_of(values.traced, node),
            COPIES.get(name_of(values.traced, node)),
        )
        if made is None or node.op not in ("call_module", "call_function", "call_method"):
            continue
        if isinstance(layer, nn.ConvTranspose2d | nn.MaxPool2d | nn.Conv2d) and why_not_in_strips(
            layer
        ):
            pooled = INDEX_SHARE if isinstance(layer, nn.MaxPool2d) else 1
            found.append((node, pooled * made.nbytes - room.at(node), why_not_in_strips(layer)))
        elif kind is not None:
            found.append((node, made.nbytes - room.beside(node), REASONS[kind]))
    found += [
        (node, values.tensor(node).nbytes - room.beside(node), REASONS["elementwise"])  # type: ignore[union-attr]
        for node in allocating
        if room.is_overwriting(node)
    ]
    return tuple(
        Excess(room.names.get(node, node.name), size, why or "")
        for node, size, why in found
        if size > SHOWN * room.peak
    )

"""Free memory beside each operator, and the operators that need more than that.

An operator may use more than planned without making a new peak, up to the planned peak minus the
bytes that are alive while it runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from bench.contract import Inputs
from bench.graph.lowering import trace
from bench.graph.meta_run import copy_to_meta, run_nodes
from bench.graph.node_operators import CALL_NODES, called_layer, find_operator, operator_name
from bench.graph.tracing import node_names
from bench.lean.alias_analysis import tensors_in
from bench.lean.strips import strip_obstacle
from bench.memory.liveness import liveness
from bench.units import as_shapes

MIN_EXCESS_SHARE = 0.01  # of the planned peak: a smaller excess is not reported
INDEX_SHARE = 2  # of a pooling: its int64 indices have twice the bytes of its float32 result
REASONS = {
    "cat": "a concat whose readers cannot read its parts is copied",
    "shuffle": "pixels are shuffled by copying",
    "elementwise": "no operand of it may be overwritten",
    "other": "PyTorch keeps or copies what the plan does not",
    "norm": "an instance normalisation copies its input into another layout",
    "weights": "PyTorch copies the weights of a convolution into another layout (on the CPU)",
}
ONEDNN_VALUES = 20480  # PyTorch gives single smaller images to kernels that copy no weights
INSTANCE_NORMS = ("instance_norm", "InstanceNorm2d")  # as PyTorch computes them
COPIES = dict.fromkeys(("cat", "concat", "concatenate"), "cat") | dict.fromkeys(
    ("PixelShuffle", "pixel_shuffle", "PixelUnshuffle", "pixel_unshuffle"), "shuffle"
)


@dataclass(frozen=True)
class Excess:
    """An operator that makes a network need more than the planned peak.

    Args:
        op: its name.
        bytes: by which the planned peak is exceeded.
        reason: why, such as that the operator has no lean form.
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
        self.deaths = {storage.name.partition("[")[0]: storage.death for storage in plan.storages}

    def free_at(self, node: Node) -> int:
        """Return the bytes that are free while a node runs; 0 where that is not known."""
        position = self._position(node)
        return 0 if position is None else self.free[position]

    def is_planned(self, storage: Node, at: Node) -> bool:
        """Return whether the plan has the result of a node in a storage that is alive at another.

        True where that is not known.
        """
        birth, position = self._position(storage), self._position(at)
        if birth is None or position is None:
            return True
        return birth in self.allocates and position <= self.deaths[self.names[storage]]

    def _position(self, node: Node) -> int | None:
        return self.positions.get(self.names.get(node, ""))


def find_excess(traced: GraphModule, shape: Inputs, headroom: Headroom) -> tuple[Excess, ...]:
    """Return what makes a rewritten network need more than planned, with its bytes.

    The network is run on meta tensors in channels_last, which shows what lies in which storage and
    for how long. At each operator with too much, the largest storage that the plan has not got is
    named; the operator itself if there is none, or if its own buffer is larger.

    Args:
        traced: the rewritten network.
        shape: of its inputs.
        headroom: of the network before.
    """
    shadow = copy_to_meta(traced)
    for weight in shadow.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    results = run_nodes(shadow, as_shapes(shape), torch.channels_last)
    worst: dict[Node, Excess] = {}
    for node, alive in _alive_storages(traced, results):
        buffer_bytes, reason = _own_buffer(traced, node, results)
        excess_bytes = sum(storage.bytes for storage in alive) + buffer_bytes - headroom.peak
        if excess_bytes <= MIN_EXCESS_SHARE * headroom.peak:
            continue
        culprit, most = node, buffer_bytes
        for storage in alive:
            if storage.bytes > most and not headroom.is_planned(storage.made_by, node):
                culprit, most = storage.made_by, storage.bytes
        if culprit is not node or not reason:
            reason = _explain(traced, culprit)
        name = headroom.names.get(culprit, culprit.name)
        found = Excess(name, excess_bytes, reason)
        worst[culprit] = max(worst.get(culprit, found), found, key=lambda excess: excess.bytes)
    return tuple(worst.values())


@dataclass
class _Storage:
    """A piece of memory: the node that made it, its bytes, and when it was last used."""

    made_by: Node
    bytes: int
    death: int


def _alive_storages(
    traced: GraphModule, results: Mapping[str, Any]
) -> Iterator[tuple[Node, list[_Storage]]]:
    """Yield each node that calls something, with the storages that are alive while it runs.

    Args:
        traced: the network.
        results: node name -> its result on meta tensors.
    """
    nodes = list(traced.graph.nodes)
    storages: dict[int, _Storage] = {}
    births: dict[int, int] = {}
    for position, node in enumerate(nodes):
        for used in (node, *node.all_input_nodes):
            for tensor in tensors_in(results[used.name]):
                memory = tensor.untyped_storage()
                births.setdefault(memory._cdata, position)
                storage = _Storage(node, memory.nbytes(), position)
                storages.setdefault(memory._cdata, storage).death = position
    activations = [key for key, storage in storages.items() if storage.made_by.op != "get_attr"]
    for position, node in enumerate(nodes):
        if node.op in CALL_NODES:
            yield (
                node,
                [
                    storages[key]
                    for key in activations
                    if births[key] <= position <= storages[key].death
                ],
            )


def _own_buffer(traced: GraphModule, node: Node, results: Mapping[str, Any]) -> tuple[int, str]:
    """Return the bytes that a node needs beside operands and results, and why; 0 if not known."""
    layer = called_layer(traced, node)
    size_bytes = sum(tensor.nbytes for tensor in tensors_in(results[node.name]))
    if operator_name(traced, node) in INSTANCE_NORMS:
        return size_bytes, REASONS["norm"]
    if not isinstance(layer, nn.ConvTranspose2d | nn.MaxPool2d | nn.Conv2d):
        return 0, ""
    obstacle = strip_obstacle(layer)
    if isinstance(layer, nn.MaxPool2d):
        return (0, "") if obstacle is None else (INDEX_SHARE * size_bytes, obstacle)
    weight_bytes = _copied_weight_bytes(layer, results[node.all_input_nodes[0].name])
    if obstacle is None:
        return weight_bytes, REASONS["weights"]
    return size_bytes + weight_bytes, obstacle


def _copied_weight_bytes(layer: nn.Conv2d | nn.ConvTranspose2d, given: Tensor) -> int:
    """Return the bytes of the weights in the layout that oneDNN computes in, where it computes.

    The conditions are those of PyTorch (`use_mkldnn` in aten's Convolution.cpp) for float32 and
    more than one thread.
    """
    is_large = given.numel() > ONEDNN_VALUES or len(given) > 1
    has_large_kernel = min(layer.kernel_size) > 3
    return layer.weight.nbytes if is_large or has_large_kernel or layer.groups > 1 else 0


def _explain(traced: GraphModule, node: Node) -> str:
    """Return why a node has a storage that the plan has not got."""
    kind = COPIES.get(operator_name(traced, node))
    rule = find_operator(traced, node)
    if kind is None and rule is not None and rule.memory == "elementwise":
        kind = "elementwise"
    return REASONS[kind or "other"]

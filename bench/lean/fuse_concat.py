"""Operators that planned memory takes as free and PyTorch copies for: concat and PixelShuffle, and layers with a large buffer.

conv(cat(a, b))           a layer in strips, which reads the parts
conv(act(cat(a, b)))      the activation of each part first
pixel_shuffle(conv(a))    a layer in strips, which writes shuffled
transposed conv, max-pool a layer in strips: the second output, the indices are as large as a strip only
"""

import sys
from typing import Any

from torch import nn
from torch.fx import Node

from bench.lean.alias_analysis import Values, layer_of, name_of, rule_of
from bench.lean.headroom import INDEX_SHARE, Room
from bench.lean.tiling import InStrips, why_not_in_strips

CONCATS = ("cat", "concat", "concatenate")
SHUFFLES = ("PixelShuffle", "pixel_shuffle")
ONE_BY_ONE = ("PReLU", "BatchNorm1d", "BatchNorm2d", "prelu")  # have weights for single channels


class Joins:
    """Rewrites a traced network that writes nothing in place.

    Args:
        values: of the network.
        room: what is free beside each operator: where its buffer fits, it is computed at once.
        scratch_bytes: about the size of a strip.
    """

    def __init__(self, values: Values, room: Room, scratch_bytes: int) -> None:
        self.values, self.traced, self.room, self.scratch_bytes = (
            values,
            values.traced,
            room,
            scratch_bytes,
        )

    def apply(self) -> None:
        """Applies all rules."""
        for rule in (self._flatten, self._activate_parts, self._swap_shuffle, self._into_strips):
            for node in list(self.traced.graph.nodes):
                rule(node)
            self.traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        self.traced.graph.lint()

    def parts(self, node: Any) -> list[Node] | None:
        """What a node joins along the channels, if it does and all who read it can read parts."""
        if not self._is_concat(node) or not all(self._reads_parts(user) for user in node.users):
            return None
        return _operands(node)

    def _is_concat(self, node: Any) -> bool:
        if (
            not isinstance(node, Node)
            or node.op != "call_function"
            or name_of(self.traced, node) not in CONCATS
        ):
            return False
        dim = (
            node.args[1]
            if len(node.args) > 1
            else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        )
        tensors = [self.values.tensor(each) for each in (node, *_operands(node))]
        images = [tensor for tensor in tensors if tensor is not None and tensor.ndim == 4]
        return (
            dim in (1, -3)
            and len(images) == len(tensors)
            and len({image.dtype for image in images}) == 1
        )

    def _reads_parts(self, user: Node) -> bool:
        return (
            self._is_strippable(user)
            or self._is_concat(user)
            or (self._is_unary(user) and all(map(self._reads_parts, user.users)))
        )

    def _is_strippable(self, node: Node) -> bool:
        layer = layer_of(self.traced, node)
        made = self.values.tensor(node)
        return (
            layer is not None
            and made is not None
            and made.ndim == 4
            and why_not_in_strips(layer) is None
            and not node.kwargs
        )

    def _is_unary(self, node: Node) -> bool:
        """An operator that does the same to every element of its one operand."""
        rule, result, name = (
            rule_of(self.traced, node),
            self.values.tensor(node),
            name_of(self.traced, node),
        )
        one_by_one = (
            name in ONE_BY_ONE and getattr(layer_of(self.traced, node), "num_parameters", 0) != 1
        )
        if (
            rule is None
            or rule.memory != "elementwise"
            or one_by_one
            or result is None
            or len(node.all_input_nodes) != 1
        ):
            return False
        if sum(arg is node.all_input_nodes[0] for arg in node.args) != 1:
            return False
        operand = self.values.tensor(node.all_input_nodes[0])
        return operand is not None and (operand.shape, operand.dtype) == (
            result.shape,
            result.dtype,
        )

    def _flatten(self, node: Node) -> None:
        """cat(cat(a, b), c) becomes cat(a, b, c)."""
        if not self._is_concat(node):
            return
        operands = _operands(node)
        flat = [
            part
            for operand in operands
            for part in (_operands(operand) if self._is_concat(operand) else [operand])
        ]
        if len(flat) > len(operands):
            node.args, node.kwargs = (flat, 1), {}

    def _activate_parts(self, node: Node) -> None:
        """act(cat(a, b)) becomes cat(act(a), act(b)), where readers of the result read parts."""
        if not self._is_unary(node) or not all(map(self._reads_parts, node.users)):
            return
        joined = node.all_input_nodes[0]
        parts = self.parts(joined)
        if parts is None:
            return
        with self.traced.graph.inserting_before(node):
            acts = []
            for part in parts:
                act = self.traced.graph.node_copy(node, {joined: part}.__getitem__)
                self._known(act, self.values.tensor(part))
                acts.append(act)
            again = self.traced.graph.call_function(joined.target, (acts, 1))  # type: ignore[arg-type]
        self._replace(node, again)

    def _swap_shuffle(self, node: Node) -> None:
        """pixel_shuffle(act(x)) becomes act(pixel_shuffle(x))."""
        if name_of(self.traced, node) not in SHUFFLES:
            return
        act = node.all_input_nodes[0]
        if not self._is_unary(act) or len(act.users) > 1 or len(act.all_input_nodes[0].users) > 1:
            return
        made = self.values.tensor(node)
        with self.traced.graph.inserting_before(node):
            shuffled = self.traced.graph.node_copy(node, lambda read: act.all_input_nodes[0])
            self._known(shuffled, made)
            again = self.traced.graph.node_copy(act, lambda read: shuffled)
        self._replace(node, again)

    def _into_strips(self, node: Node) -> None:
        if not self._is_strippable(node):
            return
        layer, operand = layer_of(self.traced, node), node.all_input_nodes[0]
        parts, shuffle, last = self.parts(operand), 1, node
        follower = next(iter(node.users)) if len(node.users) == 1 else None
        if follower is not None and name_of(self.traced, follower) in SHUFFLES:
            shuffle, last = self._factor(follower), follower
        if parts is None and shuffle == 1 and isinstance(layer, nn.Conv2d):
            return
        made, copied = (
            self.values.results[node.name].nbytes,
            self.values.results[operand.name].nbytes if parts else 0,
        )
        buffer = max(
            copied,
            INDEX_SHARE * made
            if isinstance(layer, nn.MaxPool2d)
            else made
            if last is not node
            else 0,
        )
        if isinstance(
            layer, nn.ConvTranspose2d
        ):  # with odd numbers of channels both ends are put into another order
            buffer = self.values.results[operand.name].nbytes + made
        scratch = sys.maxsize if buffer <= self.room.at(node) else self.scratch_bytes
        if parts is None and scratch == sys.maxsize:
            return
        path = f"{node.name}_in_strips"
        self.traced.add_submodule(path, InStrips(layer, scratch, shuffle))  # type: ignore[arg-type]
        with self.traced.graph.inserting_before(node):
            again = self.traced.graph.call_module(path, tuple(parts or [operand]))
        self._replace(last, again)

    def _factor(self, node: Node) -> int:
        layer = layer_of(self.traced, node)
        factor = (
            layer.upscale_factor
            if layer is not None
            else node.kwargs.get("upscale_factor", node.args[-1])
        )
        return int(factor)  # type: ignore[arg-type]

    def _replace(self, node: Node, again: Node) -> None:
        self._known(again, self.values.tensor(node))
        node.replace_all_uses_with(again)

    def _known(self, node: Node, result: Any) -> None:
        self.values.results[node.name] = result


def _operands(node: Node) -> list[Node]:
    """What a concat joins."""
    return list(node.args[0] if node.args else node.kwargs["tensors"])  # type: ignore[arg-type]

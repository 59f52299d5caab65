"""Avoid copies and large buffers that planned memory does not count.

The plan takes concat and PixelShuffle as free, PyTorch copies for them; and some layers need a
large buffer beside their output. The rewrites:

    conv(cat(a, b))            a layer in strips, which reads the parts
    conv(act(cat(a, b)))       first the activation of each part, then the same; a padding likewise
    pixel_shuffle(conv(a))     a layer in strips, which writes its output shuffled
    transposed conv, max-pool  a layer in strips, whose buffer (the second output, the indices) has
                               the size of a strip only
"""

import sys
from typing import Any

from torch import Tensor, nn
from torch.fx import Node

from bench.graph.node_operators import called_layer, find_operator, operator_name
from bench.lean.alias_analysis import AliasAnalysis
from bench.lean.headroom import INDEX_SHARE, Headroom
from bench.lean.strips import StripwiseLayer, strip_obstacle

CONCATS = ("cat", "concat", "concatenate")
SHUFFLES = ("PixelShuffle", "pixel_shuffle")
PADDINGS = ("pad", "ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d")
PER_CHANNEL = ("PReLU", "BatchNorm1d", "BatchNorm2d", "prelu")  # have weights for each channel


class ConcatFusion:
    """Rewrites a traced network that writes nothing in place.

    Args:
        analysis: of the network.
        headroom: free bytes beside each operator: where its buffer fits, it is computed at once.
        scratch_bytes: approximate size of a strip.
    """

    def __init__(self, analysis: AliasAnalysis, headroom: Headroom, scratch_bytes: int) -> None:
        self.analysis, self.headroom = analysis, headroom
        self.traced = analysis.traced
        self.scratch_bytes = scratch_bytes

    def apply(self) -> None:
        """Apply all rewrites."""
        for rewrite in (
            self._flatten,
            self._activate_parts,
            self._swap_shuffle,
            self._split_into_strips,
        ):
            for node in list(self.traced.graph.nodes):
                rewrite(node)
            self.traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        self.traced.graph.lint()

    def concat_parts(self, node: Any) -> list[Node] | None:
        """Return the parts of a concat of channels if all its readers can read parts, else None."""
        if not self._is_concat(node) or not all(self._can_read_parts(user) for user in node.users):
            return None
        return _operands(node)

    def _is_concat(self, node: Any) -> bool:
        if (
            not isinstance(node, Node)
            or node.op != "call_function"
            or operator_name(self.traced, node) not in CONCATS
        ):
            return False
        dim = (
            node.args[1]
            if len(node.args) > 1
            else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        )
        tensors = [self.analysis.tensor(value) for value in (node, *_operands(node))]
        images = [tensor for tensor in tensors if tensor is not None and tensor.ndim == 4]
        return (
            dim in (1, -3)
            and len(images) == len(tensors)
            and len({image.dtype for image in images}) == 1
        )

    def _can_read_parts(self, user: Node) -> bool:
        return (
            self._can_run_in_strips(user)
            or self._is_concat(user)
            or (self._treats_alike(user) and all(map(self._can_read_parts, user.users)))
        )

    def _can_run_in_strips(self, node: Node) -> bool:
        layer = called_layer(self.traced, node)
        result = self.analysis.tensor(node)
        return (
            layer is not None
            and result is not None
            and result.ndim == 4
            and strip_obstacle(layer) is None
            and len(node.args) == 1  # no size of the output
            and not node.kwargs
        )

    def _is_unary(self, node: Node) -> bool:
        """Return whether a node does the same to every element of its one operand."""
        rule = find_operator(self.traced, node)
        result = self.analysis.tensor(node)
        num_parameters = getattr(called_layer(self.traced, node), "num_parameters", 0)
        if (
            rule is None
            or rule.memory != "elementwise"
            or (operator_name(self.traced, node) in PER_CHANNEL and num_parameters != 1)
            or result is None
            or len(node.all_input_nodes) != 1
        ):
            return False
        if sum(arg is node.all_input_nodes[0] for arg in node.args) != 1:
            return False
        operand = self.analysis.tensor(node.all_input_nodes[0])
        return operand is not None and (operand.shape, operand.dtype) == (
            result.shape,
            result.dtype,
        )

    def _treats_alike(self, node: Node) -> bool:
        """Return whether a node does the same to every channel, and only that: also a padding."""
        operand, result = (
            self.analysis.tensor(read) for read in (next(iter(node.all_input_nodes), None), node)
        )
        is_padding = (
            operator_name(self.traced, node) in PADDINGS
            and len(node.all_input_nodes) == 1
            and operand is not None
            and result is not None
            and result.ndim == 4
            and operand.shape[:2] == result.shape[:2]
        )
        return is_padding or self._is_unary(node)

    def _flatten(self, node: Node) -> None:
        """Rewrite cat(cat(a, b), c) as cat(a, b, c)."""
        if not self._is_concat(node):
            return
        operands = _operands(node)
        flat = [
            part
            for operand in operands
            for part in (_operands(operand) if self._is_concat(operand) else [operand])
        ]
        if len(flat) > len(operands):
            node.args = (flat, 1)
            node.kwargs = {}

    def _activate_parts(self, node: Node) -> None:
        """Rewrite act(cat(a, b)) as cat(act(a), act(b)) where its readers can read parts."""
        if not self._treats_alike(node) or not all(map(self._can_read_parts, node.users)):
            return
        concat = node.all_input_nodes[0]
        parts = self.concat_parts(concat)
        result = self.analysis.tensor(node)
        if parts is None or result is None:
            return
        with self.traced.graph.inserting_before(node):
            acts = []
            for part in parts:
                act = self.traced.graph.node_copy(node, {concat: part}.__getitem__)
                self._set_result(act, self._resize(self.analysis.tensor(part), result))
                acts.append(act)
            replacement = self.traced.graph.call_function(
                concat.target,  # type: ignore[arg-type]
                (acts, 1),
            )
        self._replace(node, replacement)

    def _swap_shuffle(self, node: Node) -> None:
        """Rewrite pixel_shuffle(act(x)) as act(pixel_shuffle(x))."""
        if operator_name(self.traced, node) not in SHUFFLES:
            return
        act = node.all_input_nodes[0]
        if not self._is_unary(act) or len(act.users) > 1 or len(act.all_input_nodes[0].users) > 1:
            return
        result = self.analysis.tensor(node)
        with self.traced.graph.inserting_before(node):
            shuffle = self.traced.graph.node_copy(node, lambda read: act.all_input_nodes[0])
            self._set_result(shuffle, result)
            replacement = self.traced.graph.node_copy(act, lambda read: shuffle)
        self._replace(node, replacement)

    def _split_into_strips(self, node: Node) -> None:
        """Replace a layer by one that computes strips, together with a PixelShuffle behind it."""
        if not self._can_run_in_strips(node):
            return
        layer = called_layer(self.traced, node)
        operand = node.all_input_nodes[0]
        parts = self.concat_parts(operand)
        last = node
        shuffle = 1
        follower = next(iter(node.users)) if len(node.users) == 1 else None
        if follower is not None and operator_name(self.traced, follower) in SHUFFLES:
            last = follower
            shuffle = self._shuffle_factor(follower)
        if parts is None and shuffle == 1 and isinstance(layer, nn.Conv2d):
            return
        buffer_bytes = self._buffer_bytes(node, parts is not None, last is not node)
        fits = buffer_bytes <= self.headroom.free_at(node)
        if parts is None and fits:
            return
        scratch_bytes = sys.maxsize if fits else self.scratch_bytes
        path = f"{node.name}_in_strips"
        stripwise = StripwiseLayer(layer, scratch_bytes, shuffle)  # type: ignore[arg-type]
        self.traced.add_submodule(path, stripwise)
        with self.traced.graph.inserting_before(node):
            replacement = self.traced.graph.call_module(path, tuple(parts or [operand]))
        self._replace(last, replacement)

    def _buffer_bytes(self, node: Node, reads_parts: bool, is_shuffled: bool) -> int:
        """Return what a layer needs beside its operands and its output if it runs at once."""
        layer = called_layer(self.traced, node)
        operand_bytes: int = self.analysis.results[node.all_input_nodes[0].name].nbytes
        result_bytes: int = self.analysis.results[node.name].nbytes
        if isinstance(layer, nn.ConvTranspose2d):
            # With odd numbers of channels, both input and output are copied into another layout.
            return operand_bytes + result_bytes
        second_output = result_bytes if is_shuffled else 0
        if isinstance(layer, nn.MaxPool2d):
            second_output = INDEX_SHARE * result_bytes
        return max(operand_bytes if reads_parts else 0, second_output)

    def _shuffle_factor(self, node: Node) -> int:
        layer = called_layer(self.traced, node)
        factor = (
            layer.upscale_factor
            if layer is not None
            else node.kwargs.get("upscale_factor", node.args[-1])
        )
        return int(factor)  # type: ignore[arg-type]

    def _resize(self, part: Tensor | None, like: Tensor) -> Tensor | None:
        """Return a part with the height and width of the result of an operator that pads it."""
        return None if part is None else part.new_empty(*part.shape[:2], *like.shape[2:])

    def _replace(self, node: Node, replacement: Node) -> None:
        self._set_result(replacement, self.analysis.tensor(node))
        node.replace_all_uses_with(replacement)

    def _set_result(self, node: Node, result: Any) -> None:
        self.analysis.results[node.name] = result


def _operands(node: Node) -> list[Node]:
    """Return the operands of a concat."""
    return list(node.args[0] if node.args else node.kwargs["tensors"])  # type: ignore[arg-type]

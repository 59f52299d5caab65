"""Find out from which sizes of which tensors the numbers in a traced network are computed."""

import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from bench.graph.operators import Operator

Path = tuple[int | str, ...]
Sizes = set[tuple[Node, int]]  # (tensor, axis)


class SizeSources:
    """The sources of all numbers of a traced network.

    Args:
        results: node name -> its result on meta tensors.
    """

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results
        self.traced: dict[Node, Sizes] = {}

    def find_numbers(self, node: Node) -> Iterator[tuple[Path, float, Sizes]]:
        """Yield path, value and sources of the numbers in the arguments of a node."""
        for path, read in _walk_arguments(node):
            number = self.results[read.name] if isinstance(read, Node) else None
            if isinstance(number, torch.Size):  # passed whole; only its sources matter
                number = math.prod(number)
            if isinstance(number, int | float):
                yield path, number, self._trace(read)

    def find(self, node: Node) -> Sizes:
        """Return (tensor, axis) of every size from which a number in the arguments is computed."""
        sizes: Sizes = set()
        for read in list_reads(node):
            if not find_tensors(self.results[read.name]):
                sizes |= self._trace(read)
        return sizes

    def _trace(self, size_node: Node) -> Sizes:
        """Return (tensor, axis) of the sizes that a node which is a number or a shape stands for.

        For x.shape[1] it is (x, 1), for x.shape every axis of x.
        """
        if size_node not in self.traced:
            self.traced[size_node] = self._trace_once(size_node)
        return self.traced[size_node]

    def _trace_once(self, size_node: Node) -> Sizes:
        source: Any = size_node.args[0] if size_node.args else None
        is_shape = isinstance(source, Node) and bool(find_tensors(self.results[source.name]))
        if is_shape and size_node.target is getattr and size_node.args[1] != "shape":
            return set()
        if is_shape and size_node.target in ("size", getattr):
            axes = list(range(self.results[source.name].ndim))
            has_axis = size_node.target == "size" and len(size_node.args) > 1
            index = size_node.args[1] if has_axis else slice(None)
            return {(source, axis) for axis in _pick_axes(axes, index)}
        if (
            size_node.target is operator.getitem
            and isinstance(source, Node)
            and source.target in ("size", getattr)
        ):
            axes = sorted(axis for _, axis in self._trace(source))
            tensor: Any = source.args[0]
            return {(tensor, axis) for axis in _pick_axes(axes, size_node.args[1])}
        return self.find(size_node)


def _walk_arguments(node: Node) -> Iterator[tuple[Path, Any]]:
    """Yield the path and the content of every argument of a node, inside tuples and slices too."""

    def walk(path: Path, content: Any) -> Iterator[tuple[Path, Any]]:
        if isinstance(content, tuple | list):
            for position, item in enumerate(content):
                yield from walk((*path, position), item)
        elif isinstance(content, slice):
            for end in ("start", "stop"):
                yield from walk((*path, end), getattr(content, end))
        else:
            yield path, content

    for position, argument in enumerate(node.args):
        yield from walk((position,), argument)
    for name, argument in node.kwargs.items():
        yield from walk((name,), argument)


def find_size_paths(node: Node, rule: Operator) -> tuple[Path, ...]:
    """Return where the sizes of the result stand, if the rule of a call needs them."""
    if not rule.arguments or rule.arguments[-1] != "*sizes" or node.op == "call_module":
        return ()
    first = len(rule.arguments) - 1
    rest = node.args[first:]
    if len(rest) == 1 and isinstance(rest[0], tuple | list):
        return tuple((first, axis) for axis in range(len(rest[0])))
    if rest:
        return tuple((first + axis,) for axis in range(len(rest)))
    name = next((name for name in ("shape", "size") if name in node.kwargs), None)
    sizes: Any = node.kwargs.get(name or "", ())
    is_listed = isinstance(sizes, tuple | list)
    return tuple((str(name), axis) for axis in range(len(sizes))) if is_listed else ()


def _pick_axes(axes: list[int], index: Any) -> list[int]:
    """Return the axes that an index of a shape picks; all axes if the index is computed."""
    if isinstance(index, slice) and any(
        isinstance(end, Node) for end in (index.start, index.stop, index.step)
    ):
        return axes
    picked = axes[index] if isinstance(index, int | slice) else axes
    return picked if isinstance(picked, list) else [picked]


def list_reads(node: Node) -> list[Node]:
    """Return the nodes that a node reads, in argument order, with repetitions."""
    reads: list[Node] = []
    map_arg((node.args, node.kwargs), lambda read: reads.append(read))
    return reads


def find_tensors(result: Any) -> list[Tensor]:
    """Return the tensors among the results of a call."""
    parts = result if isinstance(result, tuple | list) else (result,)
    return [part for part in parts if isinstance(part, Tensor)]

"""The receptive field of a network, from its operators: what a tile must hold beside its core.

The network is traced at the shape of the image, and at two that are larger by whole periods. What
the operators read must agree, or else the network depends on the size of its input and is another
network in a tile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from math import ceil, lcm
from typing import Any

import numpy as np
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from bench.contract import Shape
from bench.errors import ConfigError
from bench.graph.ir import Graph, Op
from bench.graph.lowering import trace
from bench.graph.meta_run import copy_to_meta, run_nodes
from bench.graph.node_operators import called_layer, operator_name
from bench.graph.operators import CALLS
from bench.graph.tracing import node_names, trace_module
from bench.graph.tracing_at_shape import AT_SHAPE, trace_at_shape
from bench.tiling.compute_rules import refused
from bench.tiling.lines import whole_line
from bench.tiling.operators import SPATIAL_CALLS, SPATIAL_LAYERS, Spatial
from bench.tiling.pixels import COLUMNS, ROWS, Pixels, Walk
from bench.units import format_shape

MAKE_UNIFORM = ("create", "expand")  # words of the operator table


@dataclass(frozen=True)
class AxisField:
    """The receptive field along one axis of the image.

    Args:
        ratio: input pixels per output pixel: 1/2 for an enlargement by two.
        period: input pixels; tiles start and end at multiples of it.
        low, high: int64 (period / ratio,), first and last input pixel that the output pixels of one
            period depend on.
        lost_before, lost_behind: output pixels that are wrong next to a start or an end of a tile
            that is none of the image.
        excess: output pixels beyond input pixels / ratio; below 0 for layers without padding.
        least: input pixels that a tile needs, because borders are mirrored.
    """

    ratio: Fraction
    period: int
    low: np.ndarray
    high: np.ndarray
    lost_before: int
    lost_behind: int
    excess: int
    least: int

    @property
    def before(self) -> int:
        """Input pixels in front of an output pixel that it depends on, at most."""
        return int((self._own - self.low).max())

    @property
    def behind(self) -> int:
        """Input pixels behind an output pixel that it depends on, at most."""
        return int((self.high - self._own).max())

    @property
    def exact_overlap(self) -> int:
        """Input pixels that two tiles must share so that nothing wrong is kept."""
        return self.align(ceil(self.ratio * max(self.lost_before + self.lost_behind, 0)))

    @property
    def _own(self) -> np.ndarray:
        j = np.arange(len(self.low))
        return j * self.ratio.numerator // self.ratio.denominator

    def align(self, pixels: int) -> int:
        """Return the next multiple of the period."""
        return -(-pixels // self.period) * self.period


@dataclass(frozen=True)
class ReceptiveField:
    """What the output pixels of a network depend on.

    Args:
        rows, columns: along each axis of the image.
        over_image: operators that mix the whole image, with their place in the code; the axes
            leave them out.
        output_shape: (N, C, H, W), for the image at which the network was traced.
    """

    rows: AxisField
    columns: AxisField
    over_image: tuple[str, ...]
    output_shape: tuple[int, ...]


def receptive_field(model: nn.Module, shape: Shape) -> ReceptiveField:
    """Return the receptive field of a network with an input and an output (N, C, H, W).

    Args:
        model: not changed.
        shape: of an image that it accepts.

    Raises:
        ConfigError: the network cannot be traced, does not accept the shape, has an operator
            without a rule for pixels, or is another network for images of another size.
    """
    traced, graph = _trace(model, shape)
    walk = _follow(traced, graph, shape)
    _find_image(walk)
    if AT_SHAPE not in traced.meta:
        model = traced  # the same at all shapes
    periods = [_period(walk, axis) for axis in (ROWS, COLUMNS)]
    larger = [_grow(shape, periods, more) for more in (1, 2)]
    first, second = (_follow(*_trace(model, other), other) for other in larger)
    _compare(walk, first, shape == _grow(shape, periods, 0))
    _compare(first, second, True)
    rows, columns = map(_axis_field, repeat(first), (ROWS, COLUMNS), periods)
    output_shape = walk.shape(walk.graph.outputs[0])
    return ReceptiveField(rows, columns, tuple(dict.fromkeys(walk.over_image)), output_shape)


def _period(walk: Walk, axis: int) -> int:
    """Return the input pixels after which all values repeat, those too that nothing reads."""
    lines = (pixels.lines.get(axis) for pixels in walk.pixels.values())
    return lcm(*(line.period for line in lines if line is not None))


def _grow(shape: Shape, periods: Sequence[int], more: int) -> Shape:
    """Return the shape with the next whole periods along its axes, and more of them."""
    height, width = (
        (-(-size // by) + more) * by for size, by in zip(shape[2:], periods, strict=True)
    )
    return *shape[:2], height, width


def _trace(model: nn.Module, shape: Shape) -> tuple[GraphModule, Graph]:
    """Return the traced network, if need be at this shape only, and its graph."""
    if not isinstance(model, GraphModule):
        try:
            traced = trace_module(model)
            return traced, trace(traced, shape)
        except ConfigError:  # that it cannot be traced at a shape either is said below
            model = trace_at_shape(model, (shape,))
    return model, trace(model, shape)


def _follow(traced: GraphModule, graph: Graph, shape: Shape) -> Walk:
    """Return the walk through all operators of a network at a shape."""
    if len(graph.inputs) != 1:
        raise ConfigError(
            f"the network reads {len(graph.inputs)} inputs; only a network of one image is tiled"
        )
    computes = any(op.numbers for op in graph.ops)  # numbers of its calls from sizes
    results = run_nodes(copy_to_meta(traced), (shape,)) if computes else {}
    nodes = {name: node for node, name in node_names(traced).items()}
    walk = Walk(graph, {name: _module_path(node) for name, node in nodes.items()})
    walk.pixels |= dict.fromkeys(graph.weights, Pixels())
    walk.pixels[graph.inputs[0]] = Pixels(
        {2: (ROWS,), 3: (COLUMNS,)}, {ROWS: whole_line(shape[2]), COLUMNS: whole_line(shape[3])}
    )
    for op in graph.ops:
        walk.op = op
        row, given = _find_row(traced, nodes[op.name], op, results)
        walk.pixels |= dict.fromkeys(op.makes, _apply(walk, op, row, given))
        walk.follow_storage(op)
    return walk


def _module_path(node: Node) -> str:
    """Return the path of the module in whose forward function a node is."""
    return next(reversed(node.meta.get("nn_module_stack", {"": None})), "")


def _find_row(
    traced: GraphModule, node: Node, op: Op, results: dict[str, Any]
) -> tuple[Spatial, dict[str, Any]]:
    """Return the row of an operator and the arguments that its rule needs."""
    layer, name = called_layer(traced, node), operator_name(traced, node).rstrip("_")
    if layer is not None:
        row = SPATIAL_LAYERS.get(name, Spatial(refused))
        if op.rule.channels == "keep_own" and op.rule.memory == "allocate":
            row = SPATIAL_LAYERS["InstanceNorm2d"]  # a BatchNorm without running statistics
        own = {key: getattr(layer, key, None) for key in row.arguments}
        return row, {**op.arguments, **own}
    if node.op == "call_method" and f".{name}" in CALLS:
        name = f".{name}"
    if op.rule.channels == "gather":
        name = "gather"
    row = SPATIAL_CALLS.get(name, Spatial(refused))
    given = dict(zip(row.arguments, node.args, strict=False)) | node.kwargs
    numbers = map_arg(given, lambda read: results.get(read.name))
    return row, {**op.arguments, **{key: numbers[key] for key in row.arguments if key in numbers}}


def _apply(walk: Walk, op: Op, row: Spatial, given: dict[str, Any]) -> Pixels:
    """Return the pixels of what an operator makes; without pixels it makes none."""
    read = [walk.pixels[name] for name in op.reads]
    if any(pixels.axes for pixels in read) or op.rule.channels in MAKE_UNIFORM:
        return row.rule(walk, op, given)
    return Pixels(is_uniform=bool(read) and all(pixels.is_uniform for pixels in read))


def _find_image(walk: Walk) -> Pixels:
    """Return the pixels of the output, or raise ConfigError if it is not one image."""
    outputs = walk.graph.outputs
    if len(outputs) != 1:
        raise ConfigError(
            f"the network returns {len(outputs)} tensors; only a network that returns one image "
            "is tiled"
        )
    pixels = walk.pixels[outputs[0]]
    if dict(pixels.axes) != {2: (ROWS,), 3: (COLUMNS,)}:
        raise ConfigError(
            f"the network returns {format_shape(walk.shape(outputs[0]))} for an image of "
            f"{format_shape(walk.shape(walk.graph.inputs[0]))}, which is no image of its pixels"
        )
    return pixels


def _compare(walk: Walk, other: Walk, whole: bool) -> None:
    """Raise ConfigError for the first operator that reads other pixels at another shape.

    `whole` says whether both shapes are whole periods.
    """
    for op, twin in zip(walk.graph.ops, other.graph.ops, strict=False):
        if list(_fingerprint(walk, op, whole)) != list(_fingerprint(other, twin, whole)):
            walk.op = op
            walk.refuse(f"'{op.name}' depends on the size of the image")
    if len(walk.graph.ops) != len(other.graph.ops):
        raise ConfigError("the network cannot be run in tiles: it decides on the size of the image")


def _fingerprint(walk: Walk, op: Op, whole: bool) -> Iterator[Any]:
    """Yield what must not depend on the size of the image."""
    sizes = walk.shape(walk.graph.inputs[0])[2:]
    for name in op.makes:
        yield dict(walk.pixels[name].axes)
        for axis, line in sorted(walk.pixels[name].lines.items()):
            yield line.ratio, line.clean_from
            if whole:
                yield line.length - sizes[axis] / line.ratio, line.length - line.clean_to


def _axis_field(walk: Walk, axis: int, period: int) -> AxisField:
    """Return the receptive field along an axis; the image is whole periods long."""
    line = _find_image(walk).lines[axis]
    input_pixels = walk.shape(walk.graph.inputs[0])[2 + axis]
    end = int(input_pixels / line.ratio)
    j = np.arange(int(period / line.ratio))
    low, high = line.reach(j, j)
    return AxisField(
        ratio=line.ratio,
        period=period,
        low=low,
        high=high,
        lost_before=line.clean_from,
        lost_behind=end - line.clean_to,
        excess=line.length - end,
        least=walk.least[axis],
    )

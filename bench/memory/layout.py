"""Which channels of which unit lie where in each value: the channel arithmetic of a graph, pure Python.

A *unit* is one independent width: the output channels of one layer, or of several layers whose outputs are added and which therefore
must keep the same channels. A value is a row of *segments*, each all channels of one unit: concat(up, skip) has two. Layers whose output
mixes channels open a unit; operators that keep channels apart pass the segments on and tie those of their operands; a concat joins them.

Units that reach an input or an output of the network are fixed: their channels are given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.errors import ConfigError
from bench.memory.graph import Graph, Op


@dataclass(frozen=True)
class Segment:
    """All channels of one unit, in their order."""

    unit: str
    channels: int


@dataclass(frozen=True)
class Unit:
    """One independent width.

    Args:
        name: of its first layer.
        channels: before pruning.
        layers: whose output channels it is.
    """

    name: str
    channels: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The units of a network and where their channels lie.

    Args:
        units: name -> unit, those that may be pruned, in the order of execution.
        values: value -> its segments along the channel axis, fixed units included.
        reads: layer that mixes channels -> the segments of its input.
    """

    units: dict[str, Unit]
    values: dict[str, tuple[Segment, ...]]
    reads: dict[str, tuple[Segment, ...]]

    @property
    def widths(self) -> dict[str, int]:
        """Unit -> channels before pruning."""
        return {name: unit.channels for name, unit in self.units.items()}

    def consumers(self, unit: str) -> list[str]:
        """The layers that read channels of a unit."""
        return [layer for layer, segments in self.reads.items() if any(segment.unit == unit for segment in segments)]

    def offsets(self, layer: str) -> Iterator[tuple[int, Segment]]:
        """The segments of a layer's input, each with the place of its first channel."""
        start = 0
        for segment in self.reads[layer]:
            yield start, segment
            start += segment.channels


@dataclass
class _Ties:
    """Which layers share a unit: the first of them stands for all."""

    first: dict[str, str] = field(default_factory=dict)

    def root(self, name: str) -> str:
        """The layer that stands for a name."""
        while (above := self.first.get(name, name)) != name:
            name = above
        return name

    def tie(self, name: str, other: str) -> None:
        """From now on one stands for both."""
        self.first[self.root(other)] = self.root(name)


def layout(graph: Graph) -> Layout:
    """The units of a graph.

    Raises:
        ConfigError: an operator adds or multiplies values whose channels do not match, or a layer is called twice.
    """
    ties = _Ties()
    values: dict[str, tuple[Segment, ...]] = {name: (Segment(name, _channels(graph, name)),) for name in graph.inputs}
    reads: dict[str, tuple[Segment, ...]] = {}
    opened: dict[str, int] = {}
    for op in graph.ops:
        if op.rule.channels == "mix":
            layer = op.layer or op.name
            if layer in reads:
                raise ConfigError(f"the layer '{layer}' is called twice; its channels cannot be judged or removed by call")
            reads[layer], opened[layer] = values[op.reads[0]], _channels(graph, op.name)
            values[op.name] = (Segment(layer, opened[layer]),)
        elif op.rule.channels == "concat":
            values[op.name] = tuple(segment for read in op.reads for segment in values[read])
        else:
            values[op.name] = _kept(op, [values[read] for read in op.reads], ties)
    fixed = {ties.root(segment.unit) for name in (*graph.inputs, *graph.outputs) for segment in values[name]}
    return Layout(_units(opened, ties, fixed), *({name: _named(row, ties) for name, row in rows.items()} for rows in (values, reads)))


def _channels(graph: Graph, name: str) -> int:
    return graph.values[name].shape[1]


def _kept(op: Op, operands: list[tuple[Segment, ...]], ties: _Ties) -> tuple[Segment, ...]:
    """The segments of the first operand, tied to those of the others."""
    for other in operands[1:]:
        if [segment.channels for segment in other] != [segment.channels for segment in operands[0]]:
            raise ConfigError(f"'{op.name}' combines values whose channels are cut differently; the units of this network are not known")
        for segment, partner in zip(operands[0], other, strict=True):
            ties.tie(segment.unit, partner.unit)
    return operands[0]


def _named(segments: tuple[Segment, ...], ties: _Ties) -> tuple[Segment, ...]:
    return tuple(Segment(ties.root(segment.unit), segment.channels) for segment in segments)


def _units(opened: dict[str, int], ties: _Ties, fixed: set[str]) -> dict[str, Unit]:
    members: dict[str, list[str]] = {}
    for layer in opened:
        members.setdefault(ties.root(layer), []).append(layer)
    return {root: Unit(root, opened[layers[0]], tuple(layers)) for root, layers in members.items() if root not in fixed}

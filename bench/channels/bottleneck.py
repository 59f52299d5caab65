"""The narrowest place of a network at full resolution: what cannot pass it is lost.

A value is such a place if every path from the first layers to an output leads through it, and if it
has at least as many pixels as the smaller of input and output (for super-resolution, the input).
Through fewer than three channels no three colours pass pixel by pixel. What lies beside another
path (a compactor, the inside of a residual block) is no such place, however narrow: what it loses
takes the other path. An input that is added to the output is not a path: it is no work of layers.
"""

from math import prod
from typing import NamedTuple

from bench.channels.units import STAYS, Layout, Slots
from bench.graph.ir import Graph


class Bottleneck(NamedTuple):
    """The narrowest place: the units whose channels it holds, and how many channels it has."""

    units: tuple[str, ...]
    channels: int


def find_bottleneck(graph: Graph, layout: Layout) -> Bottleneck | None:
    """Return the narrowest place of a network with prunable channels, the first of equal ones.

    It is None if the network has no such place.
    """
    ends = (*graph.inputs, *graph.outputs)
    least_pixels = min(prod(graph.values[name].shape[-2:]) for name in ends)
    places = [
        name
        for name, slots in layout.values.items()
        if any(slots != STAYS)
        and prod(graph.values[name].shape[-2:]) >= least_pixels
        and not _has_path_around(graph, layout, name)
    ]
    if not places:
        return None
    slots = layout.values[min(places, key=lambda name: len(layout.values[name]))]
    units = [unit for unit in layout.units if _holds_unit(layout, unit, slots)]
    return Bottleneck(tuple(units), len(slots))


def _has_path_around(graph: Graph, layout: Layout, value: str) -> bool:
    """Return whether an output can be reached from the first layers without a value."""
    before_layers = set(graph.inputs)
    reached: set[str] = set()
    for op in graph.ops:
        made = set(op.makes) - {value}
        if not reached.isdisjoint(op.reads):
            reached |= made
        elif not before_layers.isdisjoint(op.reads):
            (reached if op.layer in layout.makes else before_layers).update(made)
    return not reached.isdisjoint(graph.outputs)


def _holds_unit(layout: Layout, unit: str, slots: Slots) -> bool:
    own = layout.slots(unit)
    return bool(((slots >= own.start) & (slots < own.stop)).any())

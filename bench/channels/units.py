"""The units of a network, and where their channels lie: the channel arithmetic of a graph, without its memory.

A *unit* is one independent width. It consists of *places*; what lies at one place can only go
together: one output channel of a layer, or one of each layer whose outputs are added, the same
channel of every group of a grouped convolution or of every part of a chunk, the r * r channels
behind one of PixelShuffle. A unit is as wide as it has places, and any subset of them may stay, so
that widths are plain numbers although channels live on a lattice. Two places belong to one unit if
they hold as many channels of the same layers.

Channels that reach an input or an output of the network are fixed, and those that an operator reads
in a way that has no smaller twin; `Layout.fixed` says why.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.channels.compute_rules import COMPUTING
from bench.channels.propagation import FIXED, Flow, Row
from bench.channels.shape_rules import MOVING
from bench.contract import Kept
from bench.errors import ConfigError
from bench.graph.ir import Graph, Op

RULES = COMPUTING | MOVING
STAYS = -1  # the place of a channel that cannot be removed
Places = np.ndarray  # int64 (C,): for each channel its place, or STAYS


@dataclass(frozen=True)
class Unit:
    """One independent width.

    Args:
        name: of its first layer; of a second unit in that layer, with ":2" behind it.
        channels: places before pruning.
        layers: whose output channels it is.
        start: number of its first place; places are numbered through all units.
    """

    name: str
    channels: int
    layers: tuple[str, ...]
    start: int


@dataclass(frozen=True)
class Layout:
    """The units of a network and where their channels lie.

    Args:
        units: name -> unit, those that may be pruned, in the order of execution.
        values: value -> places along its axis of channels; none where it has no such axis.
        makes, reads: layer that mixes channels -> places of its output channels, of its input
            channels.
        follows: layer or weight with entries for each channel -> the axis of the entries, and their
            places.
        fixed: layer that mixes channels and of which nothing can be removed -> why.
        across: operators that compute over all channels, so that no mask is equal to a removal.
    """

    units: dict[str, Unit]
    values: dict[str, Places]
    makes: dict[str, Places]
    reads: dict[str, Places]
    follows: dict[str, tuple[int, Places]]
    fixed: dict[str, str]
    across: tuple[str, ...]

    @cached_property
    def widths(self) -> dict[str, int]:
        """Unit -> channels before pruning."""
        return {name: unit.channels for name, unit in self.units.items()}

    @property
    def size(self) -> int:
        """Places of all units."""
        return sum(unit.channels for unit in self.units.values())

    def places(self, unit: str) -> slice:
        """Of a unit, among all places."""
        return slice(self.units[unit].start, self.units[unit].start + self.units[unit].channels)

    def consumers(self, unit: str) -> list[str]:
        """The layers that mix channels and read some of a unit."""
        own = self.places(unit)
        return [
            layer
            for layer, places in self.reads.items()
            if ((places >= own.start) & (places < own.stop)).any()
        ]

    def stays(self, kept: Kept) -> np.ndarray:
        """bool (size + 1,): whether what lies at a place stays; the last entry, which STAYS points to, is True.

        Raises:
            ConfigError: a unit or a channel does not exist, or a unit would lose all channels.
        """
        stays = np.ones(self.size + 1, dtype=bool)
        for unit, indices in kept.items():
            self._check_kept(unit, indices)
            stays[self.places(unit)] = False
            stays[self.units[unit].start + np.array(indices)] = True
        return stays

    def without(self, kept: Kept) -> "Layout":
        """The layout of what is left, places and channels numbered anew.

        Raises ConfigError, as `stays` does.
        """
        stays = self.stays(kept)
        number = np.where(stays, stays.cumsum() - 1, STAYS)
        number[STAYS] = STAYS

        def left(rows: Mapping[str, Places]) -> dict[str, Places]:
            return {name: number[places[stays[places]]] for name, places in rows.items()}

        widths = [len(kept.get(name, range(unit.channels))) for name, unit in self.units.items()]
        starts = [0, *np.cumsum(widths).tolist()]
        units = {
            name: replace(unit, channels=width, start=start)
            for (name, unit), width, start in zip(
                self.units.items(), widths, starts[:-1], strict=True
            )
        }
        follows = {
            name: (axis, number[places[stays[places]]])
            for name, (axis, places) in self.follows.items()
        }
        return Layout(
            units,
            left(self.values),
            left(self.makes),
            left(self.reads),
            follows,
            self.fixed,
            self.across,
        )

    def check_prunable(self) -> None:
        """Raises ConfigError, naming layers and reasons, if there is nothing to prune."""
        if not self.units:
            reasons = "; ".join(f"{layer}: {why}" for layer, why in list(self.fixed.items())[:3])
            raise ConfigError(
                f"no channel of this network can be removed ({reasons or 'it has no layer that mixes channels'})"
            )

    def _check_kept(self, unit: str, indices: Sequence[int]) -> None:
        if unit not in self.units:
            why = (
                f": {self.fixed[unit]}"
                if unit in self.fixed
                else f"; it has: {', '.join(self.units)}"
            )
            raise ConfigError(f"the network has no prunable unit '{unit}'{why}")
        full = self.units[unit].channels
        if not len(indices) or not set(indices) <= set(range(full)):
            raise ConfigError(
                f"unit '{unit}' has channels 0 to {full - 1} and must keep at least one; asked to keep {list(indices)[:8]}"
            )


def layout(graph: Graph) -> Layout:
    """The units of a graph."""
    flow = follow(graph)
    label = _components(flow.count, flow.ties)
    members = {layer: label[atoms] for layer, atoms in flow.makes.items()}
    reasons = _reasons(flow, label)
    units, place_of = _units(members, set(reasons), flow.count)
    place = place_of[label]
    return Layout(
        units,
        values={
            name: place[row.atoms] if row is not None else np.empty(0, dtype=np.int64)
            for name, row in flow.rows.items()
        },
        makes={layer: place[atoms] for layer, atoms in flow.makes.items()},
        reads={layer: place[atoms] for layer, atoms in flow.reads.items()},
        follows={name: (row.axis, place[row.atoms]) for name, row in flow.follows.items()},
        fixed={
            layer: reasons[int(labels[0])]
            for layer, labels in members.items()
            if set(labels.tolist()) <= set(reasons)
        },
        across=tuple(flow.across),
    )


def follow(graph: Graph) -> Flow:
    """Follows the channels of a network from its inputs to its outputs."""
    flow = Flow(graph)
    flow.pin("nothing is known of it", np.array([FIXED]))
    for name in graph.inputs:
        axis = min(1, len(flow.shape(name)) - 1)
        flow.rows[name] = Row(axis, flow.new(flow.shape(name)[axis]))
        flow.pin("it is joined to an input of the network", flow.rows[name])
    for name in graph.weights:
        flow.rows[name] = _of_weight(flow, name)
    for op in graph.ops:
        RULES[op.rule.channels](flow, op)
        _count(flow, op)
    for name in graph.outputs:
        flow.pin("it is an output of the network", flow.rows[name])
    for name in graph.shared:
        flow.pin(
            f"'{name}' shares a weight with another layer",
            flow.makes.get(name),
            flow.reads.get(name),
            flow.follows.get(name),
        )
    return flow


def _count(flow: Flow, op: Op) -> None:
    """An operator that computes with the number of a value's channels has as many itself, or they stay."""
    made = flow.rows[op.makes[0]]
    for name, axis in op.sizes:
        row = flow.rows[name]
        if row is None or row.axis != axis:
            continue
        if (
            op.rule.channels in ("reshape", "expand")
            and made is not None
            and len(made.atoms) == len(row.atoms)
        ):
            flow.tie(made.atoms, row.atoms)
        else:
            flow.pin(f"'{op.name}' computes with the number of its channels", row)


def _of_weight(flow: Flow, name: str) -> Row | None:
    """A weight with one axis that is longer than 1 has an entry for each channel of whatever it meets."""
    long = [axis for axis, size in enumerate(flow.shape(name)) if size > 1]
    if len(long) != 1:
        return None
    flow.follows[name] = Row(long[0], flow.new(flow.shape(name)[long[0]]))
    return flow.follows[name]


def _components(count: int, ties: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """int64 (count,): for each atom the least atom that it is tied to, over any number of ties."""
    label = np.arange(count)
    if not ties:
        return label
    left, right = (np.concatenate(side) for side in zip(*ties, strict=True))
    while True:
        least = np.minimum(label[left], label[right])
        before = label.copy()
        for side in (left, right):
            np.minimum.at(label, before[side], least)
        label = label[label]
        if (label == before).all():
            return label


def _reasons(flow: Flow, label: np.ndarray) -> dict[int, str]:
    """Label of what cannot be removed -> why."""
    return {int(one): why for atoms, why in reversed(flow.pinned) for one in label[atoms]}


def _units(
    members: Mapping[str, np.ndarray], fixed: set[int], count: int
) -> tuple[dict[str, Unit], np.ndarray]:
    """The units, and int64 (atoms,): label -> place."""
    kinds, place_of = _kinds(members, count), np.full(count, STAYS)
    labels_of: dict[
        int, dict[int, None]
    ] = {}  # kind -> its labels and its layers, each in the order of execution
    layers_of: dict[int, dict[str, None]] = {}
    for layer, labels in members.items():
        for one in labels.tolist():
            if one not in fixed:
                labels_of.setdefault(int(kinds[one]), {})[one] = None
                layers_of.setdefault(int(kinds[one]), {})[layer] = None
    units: dict[str, Unit] = {}
    twins: Counter[str] = Counter()
    start = 0
    for kind, found in labels_of.items():
        first, *others = layers_of[kind]
        twins[first] += 1
        name = f"{first}:{twins[first]}" if twins[first] > 1 else first
        units[name] = Unit(name, len(found), (first, *others), start)
        place_of[list(found)] = np.arange(start, start := start + len(found))
    return units, place_of


def _kinds(members: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """int64 (count,): labels of one kind hold as many channels of the same layers.

    Refined layer by layer.
    """
    kinds, known = np.zeros(count, dtype=np.int64), 1
    for labels in members.values():
        touched, counts = np.unique(labels, return_counts=True)
        pairs, which = np.unique(np.stack([kinds[touched], counts]), axis=1, return_inverse=True)
        kinds[touched] = known + which.ravel()
        known += pairs.shape[1]
    return kinds

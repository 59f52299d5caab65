"""The units of a network and where their channels lie: channel arithmetic without memory.

A *unit* is one independent width. It consists of *slots*; the channels in one slot can only be
removed together: one output channel of a layer, or one of each layer whose outputs are added, the
same channel of every group of a grouped convolution or of every part of a chunk, the r * r channels
behind one channel of PixelShuffle. The width of a unit is its number of slots, and any subset of
them may be kept, so that widths are plain numbers although channels are tied in many ways. Two
slots belong to one unit if they hold equally many channels of the same layers and values.

Channels that reach an input or an output of the network are fixed, and so are those that an
operator reads in a way that has no smaller equivalent; `Layout.fixed` holds the reason.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.channels.propagation import Flow
from bench.channels.rules import propagate_channels
from bench.contract import Kept
from bench.errors import ConfigError
from bench.graph.ir import Graph
from bench.graph.size_sources import Path

STAYS = -1  # the slot of a channel that cannot be removed
Slots = np.ndarray  # int64 (C,): for each channel its slot, or STAYS


@dataclass(frozen=True)
class Unit:
    """One independent width.

    Args:
        name: of its first layer; a second unit in that layer has ":2" appended.
        channels: number of slots before pruning.
        layers: whose output channels it consists of.
        start: its first slot; slots are numbered through all units.
    """

    name: str
    channels: int
    layers: tuple[str, ...]
    start: int


@dataclass(frozen=True)
class SizeRewrite:
    """A number in a call of the traced network that surgery replaces.

    Args:
        op: name of the operator.
        path: where the number stands, see `bench.graph.ir.NumberArgument`.
        slots: the number is how many of these channels remain; None if it keeps its value.
        number: its value in the unpruned network.
    """

    op: str
    path: Path
    slots: Slots | None
    number: int | float


@dataclass(frozen=True)
class Layout:
    """The units of a network and where their channels lie.

    Args:
        units: name -> unit, all that may be pruned, in execution order.
        values: value -> slots along its channel axis; empty if it has no such axis.
        makes, reads: layer that mixes channels -> slots of its output channels, of its input
            channels.
        followers: layer or weight with one entry for each channel (BatchNorm, PReLU, a depthwise
            convolution) -> the axis of the entries, and their slots.
        fixed: layer that mixes channels and of which nothing can be removed -> reason.
        cross_channel_ops: operators whose result for one channel depends on all channels; with one
            of them, masking channels is not equivalent to removing them.
        rewrites: what surgery replaces in the calls of a network that is traced at a shape.
    """

    units: dict[str, Unit]
    values: dict[str, Slots]
    makes: dict[str, Slots]
    reads: dict[str, Slots]
    followers: dict[str, tuple[int, Slots]]
    fixed: dict[str, str]
    cross_channel_ops: tuple[str, ...]
    rewrites: tuple[SizeRewrite, ...] = ()

    @cached_property
    def widths(self) -> dict[str, int]:
        """Unit -> channels before pruning."""
        return {name: unit.channels for name, unit in self.units.items()}

    @property
    def size(self) -> int:
        """Number of slots of all units."""
        return sum(unit.channels for unit in self.units.values())

    def slots(self, unit: str) -> slice:
        """Return the range of the slots of a unit."""
        return slice(self.units[unit].start, self.units[unit].start + self.units[unit].channels)

    def consumers(self, unit: str) -> list[str]:
        """Return the layers that mix channels and read some channels of a unit."""
        own = self.slots(unit)
        return [
            layer
            for layer, slots in self.reads.items()
            if ((slots >= own.start) & (slots < own.stop)).any()
        ]

    def slot_mask(self, kept: Kept) -> np.ndarray:
        """Return bool (size + 1,): whether the channels in each slot are kept.

        The last entry, to which STAYS points, is True.

        Raises:
            ConfigError: a unit or a channel does not exist, or a unit would lose all channels.
        """
        mask = np.ones(self.size + 1, dtype=bool)
        for unit, indices in kept.items():
            self._check_kept(unit, indices)
            mask[self.slots(unit)] = False
            mask[self.units[unit].start + np.array(indices)] = True
        return mask

    def new_numbers(self, slot_mask: np.ndarray) -> dict[tuple[str, Path], float]:
        """Return what the calls of a traced network have to be rewritten to.

        Args:
            slot_mask: bool (size + 1,), whether the channels in each slot are kept.

        Returns:
            (Operator, path of a number in its arguments) -> the new number.
        """
        return {
            (rewrite.op, rewrite.path): rewrite.number
            if rewrite.slots is None
            else int(slot_mask[rewrite.slots].sum())
            for rewrite in self.rewrites
        }

    def narrow(self, kept: Kept) -> "Layout":
        """Return the layout of the network that keeps only these channels, renumbered.

        Raises:
            ConfigError: as in `slot_mask`.
        """
        mask = self.slot_mask(kept)
        new_slot = np.where(mask, mask.cumsum() - 1, STAYS)
        new_slot[STAYS] = STAYS

        def narrow_all(rows: Mapping[str, Slots]) -> dict[str, Slots]:
            return {name: new_slot[slots[mask[slots]]] for name, slots in rows.items()}

        units: dict[str, Unit] = {}
        start = 0
        for name, unit in self.units.items():
            width = len(kept.get(name, range(unit.channels)))
            units[name] = replace(unit, channels=width, start=start)
            start += width
        entries = narrow_all({name: slots for name, (_, slots) in self.followers.items()})
        return replace(
            self,
            units=units,
            values=narrow_all(self.values),
            makes=narrow_all(self.makes),
            reads=narrow_all(self.reads),
            followers={name: (axis, entries[name]) for name, (axis, _) in self.followers.items()},
            rewrites=tuple(
                rewrite
                if rewrite.slots is None
                else replace(rewrite, slots=new_slot[rewrite.slots[mask[rewrite.slots]]])
                for rewrite in self.rewrites
            ),
        )

    def check_prunable(self) -> None:
        """Raise ConfigError, with layers and reasons, if there is nothing to prune."""
        if not self.units:
            reasons = "; ".join(f"{layer}: {why}" for layer, why in list(self.fixed.items())[:3])
            raise ConfigError(
                "no channel of this network can be removed "
                f"({reasons or 'it has no layer that mixes channels'})"
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
                f"unit '{unit}' has channels 0 to {full - 1} and must keep at least one; "
                f"asked to keep {list(indices)[:8]}"
            )


def channel_layout(graph: Graph) -> Layout:
    """Return the channel layout of a graph."""
    flow = propagate_channels(graph)
    label = flow.connect()
    members = {layer: label[atoms] for layer, atoms in flow.makes.items()}
    reasons = _pin_reasons(flow, label)
    rows = {id(row.atoms): row.atoms for row in flow.rows.values() if row is not None}
    units, slot_of_label = _form_units(
        members, [label[atoms] for atoms in rows.values()], set(reasons), flow.atom_count
    )
    slot = slot_of_label[label]
    return Layout(
        units,
        values={
            name: slot[row.atoms] if row is not None else np.empty(0, dtype=np.int64)
            for name, row in flow.rows.items()
        },
        makes={layer: slot[atoms] for layer, atoms in flow.makes.items()},
        reads={layer: slot[atoms] for layer, atoms in flow.reads.items()},
        followers={name: (row.axis, slot[row.atoms]) for name, row in flow.followers.items()},
        fixed={
            layer: reasons[int(labels[0])]
            for layer, labels in members.items()
            if set(labels.tolist()) <= set(reasons)
        },
        cross_channel_ops=tuple(flow.cross_channel_ops),
        rewrites=tuple(
            SizeRewrite(
                rewrite.op,
                rewrite.path,
                None if rewrite.atoms is None else slot[rewrite.atoms],
                rewrite.number,
            )
            for rewrite in flow.rewrites.values()
        ),
    )


def explain_full_width(graph: Graph) -> dict[str, str]:
    """Return value -> why none of its channels can be removed, with the line of the user's code.

    Values of which some can be removed are left out.
    """
    flow = propagate_channels(graph)
    label = flow.connect()
    reasons = _pin_reasons(flow, label)
    explained = {}
    for name, row in flow.rows.items():
        if row is None:
            explained[name] = flow.lost.get(name, "it has no axis of channels")
        elif all(int(own) in reasons for own in label[row.atoms]):
            explained[name] = reasons[int(label[row.atoms[0]])]
    return explained


def _pin_reasons(flow: Flow, label: np.ndarray) -> dict[int, str]:
    """Return label of the channels that cannot be removed -> reason; the first reason counts."""
    return {
        int(pinned): reason for atoms, reason in reversed(flow.pinned) for pinned in label[atoms]
    }


def _form_units(
    members: Mapping[str, np.ndarray], values: Sequence[np.ndarray], fixed: set[int], count: int
) -> tuple[dict[str, Unit], np.ndarray]:
    """Return the units, and int64 (atoms,): label -> slot."""
    kinds = _classify([*members.values(), *values], count)
    slot_of_label = np.full(count, STAYS)
    # Dicts without values are sets in execution order.
    labels_of: dict[int, dict[int, None]] = {}
    layers_of: dict[int, dict[str, None]] = {}
    for layer, labels in members.items():
        for label in labels.tolist():
            if label not in fixed:
                labels_of.setdefault(int(kinds[label]), {})[label] = None
                layers_of.setdefault(int(kinds[label]), {})[layer] = None
    units: dict[str, Unit] = {}
    units_of_layer: Counter[str] = Counter()
    start = 0
    for kind, unit_labels in labels_of.items():
        first, *others = layers_of[kind]
        units_of_layer[first] += 1
        name = f"{first}:{units_of_layer[first]}" if units_of_layer[first] > 1 else first
        units[name] = Unit(name, len(unit_labels), (first, *others), start)
        end = start + len(unit_labels)
        slot_of_label[list(unit_labels)] = np.arange(start, end)
        start = end
    return units, slot_of_label


def _classify(members: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return int64 (count,): the kind of each label.

    Labels of one kind hold equally many channels of the same layers and values. The kinds are
    refined by one after the other.
    """
    kinds = np.zeros(count, dtype=np.int64)
    kind_count = 1
    for labels in members:
        touched, counts = np.unique(labels, return_counts=True)
        pairs, which = np.unique(np.stack([kinds[touched], counts]), axis=1, return_inverse=True)
        kinds[touched] = kind_count + which.ravel()
        kind_count += pairs.shape[1]
    return kinds

"""State of the propagation of channels from the inputs of a network to its outputs.

Every output channel of a layer that mixes channels is an *atom*, and so is every channel of an
input and of a weight that the code reads directly. A value is a row of atoms along its channel
axis: a concat joins rows, a chunk cuts them, a gate multiplies two of them. On the way, atoms are

    tied    they can only be removed together: both sides of an addition or a gate, input and output
            of a depthwise convolution, the same position in every group of a grouped convolution
            and in every part of a chunk, the r * r channels behind one channel of PixelShuffle
    pinned  they cannot be removed: channels of inputs and outputs, and those that an operator reads
            in a way that has no smaller equivalent

Rows may also be cut into heads of attention and merged again (`bench.channels.shape_rules`), and
meet in products of two values (`bench.channels.contraction_rules`). There is one rule for each word
in the column `channels` of the operator table; `bench.channels.rules` applies them, and
`bench.channels.units` forms units from the atoms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.graph.ir import Graph, Op

Atoms = np.ndarray  # int64 (C,)
UNKNOWN = 0  # the atom of every channel whose origin is unknown; it is pinned


@dataclass(frozen=True)
class ChannelRow:
    """The channels of a value: the axis along which they lie, and their atoms."""

    axis: int
    atoms: Atoms


@dataclass(frozen=True)
class Rewrite:
    """A number in a call that the pruned network needs to have another value.

    Args:
        op: name of the operator.
        path: where the number stands, see `NumberArgument`.
        atoms: the number is how many of these remain; None if it keeps its present value.
        number: its present value.
    """

    op: str
    path: tuple[int | str, ...]
    atoms: Atoms | None
    number: int | float


@dataclass
class Flow:
    """What the rules have found so far, operator by operator in execution order.

    Args:
        graph: the network.
        rows: value -> its row; None if no axis is one of channels.
        makes, reads: layer that mixes channels -> atoms of its output channels, of its input
            channels.
        followers: layer or weight with one entry for each channel -> axis of its entries and the
            atoms along it.
        pinned: (atoms, reason).
        ties: (atoms, atoms), of equal lengths.
        cross_channel_ops: operators whose result for one channel depends on all channels.
        second_rows: value -> a second axis of channels, such as the keys of an attention map whose
            rows are queries.
        line: of the user's code of the operator whose rule is applied now.
        lost: value without a row -> the reason, if something that it is computed from has one.
        cuts: reshape that cuts channels into heads -> the atoms of the parts that it ties.
        by_heads: those of which whole heads are removed, not channels of each head.
        whole_heads, single_heads: reshapes of which that is asked, and of which it is not to be.
        large_maps: atoms of queries and keys whose attention map is larger than they are.
        rewrites: (operator, path) -> number to rewrite, if the graph may be rewritten.
        wants_rewriting: whether channels are pinned only because it may not.
        atom_count: number of atoms so far.
    """

    graph: Graph
    rows: dict[str, ChannelRow | None] = field(default_factory=dict)
    makes: dict[str, Atoms] = field(default_factory=dict)
    reads: dict[str, Atoms] = field(default_factory=dict)
    followers: dict[str, ChannelRow] = field(default_factory=dict)
    pinned: list[tuple[Atoms, str]] = field(default_factory=list)
    ties: list[tuple[Atoms, Atoms]] = field(default_factory=list)
    cross_channel_ops: list[str] = field(default_factory=list)
    second_rows: dict[str, ChannelRow] = field(default_factory=dict)
    line: str = ""
    lost: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, np.ndarray] = field(default_factory=dict)
    by_heads: set[str] = field(default_factory=set)
    whole_heads: frozenset[str] = frozenset()
    single_heads: frozenset[str] = frozenset()
    large_maps: list[Atoms] = field(default_factory=list)
    rewrites: dict[tuple[str, tuple[int | str, ...]], Rewrite] = field(default_factory=dict)
    wants_rewriting: bool = False
    atom_count: int = UNKNOWN + 1

    def new_atoms(self, size: int) -> Atoms:
        """Return new atoms, which are not tied to any other yet."""
        self.atom_count += size
        return np.arange(self.atom_count - size, self.atom_count)

    def pin(self, reason: str, *rows: ChannelRow | Atoms | None) -> None:
        """Pin these atoms, with the line of the present operator; None is ignored."""
        for row in rows:
            if row is not None:
                atoms = row.atoms if isinstance(row, ChannelRow) else row
                self.pinned.append((atoms, reason + self.line))

    def tie(self, atoms: Atoms, partners: Atoms) -> None:
        """Tie each atom to the partner at the same position."""
        if atoms is not partners:
            self.ties.append((atoms, partners))

    def connect(self) -> np.ndarray:
        """Return int64 (atoms,): the least atom to which each atom is tied, directly or not."""
        label = np.arange(self.atom_count)
        if not self.ties:
            return label
        left, right = (np.concatenate(side) for side in zip(*self.ties, strict=True))
        while True:
            least = np.minimum(label[left], label[right])
            before = label.copy()
            for side in (left, right):
                np.minimum.at(label, before[side], least)
            label = label[label]
            if (label == before).all():
                return label

    def tie_parts(self, parts: Sequence[Atoms] | np.ndarray) -> None:
        """Tie the atoms at the same position of several parts of equal length."""
        for part in parts[1:]:
            self.tie(parts[0], part)

    def may_rewrite(self) -> bool:
        """Return whether a number in a call may follow the channels; note that a rule asked."""
        self.wants_rewriting |= not self.graph.rewritable
        return self.graph.rewritable

    def rewrite(
        self, op: Op, path: tuple[int | str, ...], atoms: Atoms | None, number: int | float
    ) -> None:
        """Let a number in a call follow these atoms, or keep its value if None."""
        self.rewrites[op.name, path] = Rewrite(op.name, path, atoms, number)

    def is_channel_axis(self, size: tuple[str, int]) -> bool:
        """Return whether (value, axis) is an axis of channels."""
        rows = (self.rows[size[0]], self.second_rows.get(size[0]))
        return any(row is not None and row.axis == size[1] for row in rows)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        return self.graph.values[name].shape

    def operands(self, op: Op) -> list[ChannelRow | None]:
        """Return the rows of the values that an operator reads."""
        return [self.rows[name] for name in op.reads]

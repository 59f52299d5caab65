"""What is known while the channels of a network are followed from its inputs to its outputs.

Every output channel of a layer that mixes channels is an *atom*, and so is every channel of an
input and of a weight that the code reads directly. A value is a row of atoms along its channel
axis: a concat joins rows, chunk cuts them, a gate multiplies two of them. Along the way atoms are

    tied    they can only be removed together: both sides of an addition or a gate, input and output of a depthwise convolution, the
            same place in every group of a grouped convolution and in every part of a chunk, the r * r channels behind one of PixelShuffle
    pinned  they cannot be removed: channels of inputs and outputs, and those that an operator reads in a way that has no smaller twin

The rules are in `bench.channels.compute_rules` and `bench.channels.shape_rules`, one for each word
in the column `channels` of the operator table; `bench.channels.units` applies them and makes units
of the atoms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.graph.ir import Graph, Op

Atoms = np.ndarray  # int64 (C,)
FIXED = 0  # the atom that stands for every channel of which nothing is known


@dataclass(frozen=True)
class Row:
    """The channels of a value: along which axis they lie, and which atoms they are."""

    axis: int
    atoms: Atoms


@dataclass
class Flow:
    """What has been found while following the operators in their order.

    Args:
        graph: the network.
        rows: value -> its row; None where no axis is one of channels.
        makes, reads: layer that mixes channels -> atoms of its output channels, of its input
            channels.
        follows: layer or weight -> axis of its weights and the atoms along it: one entry a channel.
        pinned: (atoms, why).
        ties: (atoms, atoms), of equal lengths.
        across: operators that compute over all channels: what they give depends on every one.
    """

    graph: Graph
    rows: dict[str, Row | None] = field(default_factory=dict)
    makes: dict[str, Atoms] = field(default_factory=dict)
    reads: dict[str, Atoms] = field(default_factory=dict)
    follows: dict[str, Row] = field(default_factory=dict)
    pinned: list[tuple[Atoms, str]] = field(default_factory=list)
    ties: list[tuple[Atoms, Atoms]] = field(default_factory=list)
    across: list[str] = field(default_factory=list)
    count: int = FIXED + 1

    def new(self, size: int) -> Atoms:
        """Atoms that are not tied to any other yet."""
        self.count += size
        return np.arange(self.count - size, self.count)

    def pin(self, why: str, *rows: Row | Atoms | None) -> None:
        """These atoms stay."""
        for row in rows:
            if row is not None:
                self.pinned.append((row.atoms if isinstance(row, Row) else row, why))

    def tie(self, atoms: Atoms, others: Atoms) -> None:
        """Each atom goes only together with its partner."""
        if atoms is not others:
            self.ties.append((atoms, others))

    def tie_parts(self, parts: Sequence[Atoms] | np.ndarray) -> None:
        """Parts of equal length keep the same places."""
        for part in parts[1:]:
            self.tie(parts[0], part)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a value."""
        return self.graph.values[name].shape

    def operands(self, op: Op) -> list[Row | None]:
        """The rows of what an operator reads."""
        return [self.rows[name] for name in op.reads]

"""Lifetime of every storage of a graph, in pure Python, without torch.

Positions are counted in operators, in traced order. A storage is born at the operator that
allocates it (a network input before the first operator) and dies at the last operator that reads
any value in it; a network output lives to the end. A time step is an operator that allocates; at
it, all storages with birth <= position <= death are alive.

Rules of "planned": rearranging operators are views, a concat lies in the storages of all its parts,
and an elementwise operator overwrites its first operand that has the shape and type of the result
and whose storages are not read later. Rules of "eager": see the operator table; and a convolution
whose padding is not zeros on both sides alike has, while it runs, a padded copy of its input, which
PyTorch makes. Weights have no storage here: they are not counted and never overwritten.
"""

from dataclasses import dataclass, field
from math import prod

from bench.contract import Convention
from bench.errors import ConfigError
from bench.graph.ir import Graph, Op, Value


@dataclass
class Storage:
    """A piece of memory, named after the operator that allocated it.

    Args:
        name: of the first value in it, which has the shape of the storage; or of a padded copy.
        size_bytes: in the unpruned network.
        birth, death: first and last position at which it is alive.
        value: the value whose channels it has.
    """

    name: str
    size_bytes: int
    birth: int
    death: int
    value: str


@dataclass(frozen=True)
class Liveness:
    """All storages of a graph, and the positions of its time steps."""

    storages: tuple[Storage, ...]
    steps: tuple[int, ...]

    def live_storages(self) -> list[list[Storage]]:
        """Return the storages that are alive at each time step, in the order of their birth."""
        unborn = list(self.storages)[::-1]
        alive: list[Storage] = []
        timeline = []
        for position in self.steps:
            while unborn and unborn[-1].birth <= position:
                alive = [*alive, unborn.pop()]
            alive = [storage for storage in alive if storage.death >= position]
            timeline.append(alive)
        return timeline


@dataclass
class _Walk:
    """State of one pass over a graph.

    Args:
        graph, convention: of the pass.
        last_read: value -> position of the last operator that reads it.
        storages, steps: collected so far.
        lies_in: value -> its storages.
        overlapping: values of which two elements share, or may share, one memory location.
    """

    graph: Graph
    convention: Convention
    last_read: dict[str, int]
    storages: list[Storage] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    lies_in: dict[str, list[Storage]] = field(default_factory=dict)
    overlapping: set[str] = field(default_factory=set)

    def allocate(self, name: str, position: int) -> None:
        """Allocate a new storage for a value; without readers, the value dies at once."""
        storage = Storage(name, self.graph.values[name].size_bytes, position, position, name)
        self.storages.append(storage)
        self.assign(name, [storage])

    def assign(self, name: str, storages: list[Storage]) -> None:
        """Put a value into these storages, which then live as long as it is read."""
        self.lies_in[name] = storages
        for storage in storages:
            storage.death = max(storage.death, self.last_read.get(name, storage.birth))

    def visit(self, position: int, op: Op) -> None:
        """Apply the effect of one operator."""
        effect = op.rule.memory
        if effect in ("view", "rearrange") and self.is_view(op):
            viewed = op.reads if op.rule.channels == "concat" else op.reads[:1]
            storages = {id(storage): storage for read in viewed for storage in self.lies_in[read]}
            for name in op.makes:
                self.assign(name, list(storages.values()))
            if self.overlaps(op, viewed):
                self.overlapping.update(op.makes)
        elif effect == "elementwise" and (target := self.find_overwritable(position, op)):
            self.assign(op.makes[0], target)
        else:
            for name in op.makes:
                self.allocate(name, position)
            self.steps.append(position)
            self.allocate_padded_copy(position, op)

    def allocate_padded_copy(self, position: int, op: Op) -> None:
        """Allocate what PyTorch copies and pads before a convolution; it dies with the operator."""
        if self.convention == "eager" and op.arguments.keys() >= {"padding", "padding_mode"}:
            read = op.reads[0]
            if size_bytes := _padded_bytes(op, self.graph.values[read]):
                name = f"{op.name} (padded input)"
                self.storages.append(Storage(name, size_bytes, position, position, read))

    def is_view(self, op: Op) -> bool:
        """Return whether an operator that only moves elements needs no storage of its own."""
        return self.convention == "planned" or (op.rule.memory == "view" and op.shares)

    def find_overwritable(self, position: int, op: Op) -> list[Storage]:
        """Return the storages that an elementwise operator overwrites; none if it cannot."""
        if self.convention == "eager":
            return self.lies_in[op.reads[0]] if op.written_in_place else []
        values = self.graph.values
        result = values[op.makes[0]]
        for read in op.reads:
            is_alike = (values[read].shape, values[read].dtype) == (result.shape, result.dtype)
            if (
                is_alike
                and self.lies_in[read]
                and read not in self.overlapping
                and all(storage.death <= position for storage in self.lies_in[read])
            ):
                return self.lies_in[read]
        return []

    def overlaps(self, op: Op, viewed: tuple[str, ...]) -> bool:
        """Return whether two elements of a view may share one memory location.

        They do if the view was expanded, or joins values of one storage. Different parts of one
        chunk do not overlap; whether two slices of one value do is not known here.
        """
        if not self.overlapping.isdisjoint(viewed):
            return True
        if len(viewed) == 1:
            return (
                self.graph.values[op.makes[0]].size_bytes > self.graph.values[viewed[0]].size_bytes
            )
        storage_ids = [id(storage) for name in viewed for storage in self.lies_in[name]]
        # "chunk" of "chunk[1]", "" of any other name.
        calls = {name.rpartition("[")[0] for name in viewed}
        are_parts = len(set(viewed)) == len(viewed) and len(calls) == 1 and "" not in calls
        return len(set(storage_ids)) < len(storage_ids) and not are_parts


def _padded_bytes(op: Op, value: Value) -> int:
    """Return the size of the padded copy of the value that a convolution reads; 0 if it has none.

    Zeros are padded without a copy, unless "same" asks for one more behind than before.
    """
    given = op.arguments
    sizes = list(value.shape)
    for axis in (-2, -1):
        reach = given["dilation"][axis] * (given["kernel_size"][axis] - 1)
        if given["padding_mode"] == "zeros":
            sizes[axis] += reach % 2 if given["padding"] == "same" else 0
        elif isinstance(given["padding"], str):
            sizes[axis] += reach if given["padding"] == "same" else 0
        else:
            sizes[axis] += 2 * given["padding"][axis]
    if given["padding_mode"] == "zeros" and tuple(sizes) == value.shape:
        return 0
    return prod(sizes) * value.size_bytes // prod(value.shape)


def liveness(graph: Graph, convention: Convention) -> Liveness:
    """Return the storages and time steps of a graph under the convention planned or eager."""
    if convention not in ("planned", "eager"):
        raise ConfigError(
            f"convention '{convention}' is the plan of a runtime, which has a peak and no time "
            "steps of ours; take planned or eager"
        )
    last_read = {read: position for position, op in enumerate(graph.ops) for read in op.reads}
    last_read |= dict.fromkeys(graph.outputs, len(graph.ops))
    walk = _Walk(graph, convention, last_read)
    walk.lies_in |= {name: [] for name in graph.weights}
    for name in graph.inputs:
        walk.allocate(name, -1)
    for position, op in enumerate(graph.ops):
        walk.visit(position, op)
    return Liveness(tuple(walk.storages), tuple(walk.steps))

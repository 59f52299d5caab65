"""From birth to death of every storage: pure Python, no torch.

Places are counted in operators, in the traced order. A storage is born at the operator that
allocates it (an input of the network before the first) and dies at the last operator that reads any
value lying in it; an output of the network lives to the end. A time step is an operator that
allocates; at it, all storages with birth <= place <= death are alive.

Rules of "planned": rearranging operators are views, a concat lies in the storages of all its parts,
and an elementwise operator overwrites its first operand that has the shape and type of the result
and whose storages nobody reads later. Rules of "eager": see the operator table. Weights have no
storage here: they are not counted and never overwritten.
"""

from dataclasses import dataclass, field

from bench.contract import Convention
from bench.graph.ir import Graph, Op


@dataclass
class Storage:
    """A piece of memory, named after the operator that allocated it.

    Args:
        name: of the first value in it, whose shape it has.
        size_bytes: of the unpruned network.
        birth, death: first and last place at which it is alive.
    """

    name: str
    size_bytes: int
    birth: int
    death: int


@dataclass(frozen=True)
class Liveness:
    """All storages, and the places of the time steps."""

    storages: tuple[Storage, ...]
    steps: tuple[int, ...]

    def alive(self) -> list[list[Storage]]:
        """The storages that are alive at each time step, in the order of their birth."""
        unborn, timeline = list(self.storages)[::-1], []
        alive: list[Storage] = []
        for place in self.steps:
            while unborn and unborn[-1].birth <= place:
                alive = [*alive, unborn.pop()]
            alive = [storage for storage in alive if storage.death >= place]
            timeline.append(alive)
        return timeline


@dataclass
class _Walk:
    """The state of one pass over the graph: which storages each value lies in."""

    graph: Graph
    convention: Convention
    last_read: dict[str, int]
    storages: list[Storage] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    lies_in: dict[str, list[Storage]] = field(default_factory=dict)
    overlapping: set[str] = field(
        default_factory=set
    )  # values of which two elements lie, or may lie, at one place

    def allocate(self, name: str, place: int) -> None:
        """A new storage for a value; a value that nobody reads dies at once."""
        storage = Storage(name, self.graph.values[name].size_bytes, place, place)
        self.storages.append(storage)
        self.place_in(name, [storage])

    def place_in(self, name: str, storages: list[Storage]) -> None:
        """The value lies in these storages, which live as long as it is read."""
        self.lies_in[name] = storages
        for storage in storages:
            storage.death = max(storage.death, self.last_read.get(name, storage.birth))

    def visit(self, place: int, op: Op) -> None:
        """The effect of one operator."""
        effect = op.rule.memory
        if effect in ("view", "rearrange") and self.is_view(op):
            viewed = op.reads if op.rule.channels == "concat" else op.reads[:1]
            storages = {id(storage): storage for read in viewed for storage in self.lies_in[read]}
            for name in op.makes:
                self.place_in(name, list(storages.values()))
            if self.overlaps(op, viewed):
                self.overlapping.update(op.makes)
        elif effect == "elementwise" and (overwritten := self.overwritten(place, op)):
            self.place_in(op.makes[0], overwritten)
        else:
            self.allocate(op.makes[0], place)
            self.steps.append(place)

    def is_view(self, op: Op) -> bool:
        """Whether an operator that only moves elements needs no storage of its own."""
        return self.convention == "planned" or (op.rule.memory == "view" and op.shares)

    def overwritten(self, place: int, op: Op) -> list[Storage]:
        """The storages of the operand that an elementwise operator overwrites; none if it cannot."""
        if self.convention == "eager":
            return self.lies_in[op.reads[0]] if op.written_in_place else []
        values = self.graph.values
        result = values[op.makes[0]]
        for read in op.reads:
            same = (values[read].shape, values[read].dtype) == (result.shape, result.dtype)
            if (
                same
                and self.lies_in[read]
                and read not in self.overlapping
                and all(storage.death <= place for storage in self.lies_in[read])
            ):
                return self.lies_in[read]
        return []

    def overlaps(self, op: Op, viewed: tuple[str, ...]) -> bool:
        """Whether two elements of a view may lie at one place: it was expanded, or joins what lies in one storage.

        Different parts of one chunk are apart; of two slices of one value that is not known here.
        """
        if not self.overlapping.isdisjoint(viewed):
            return True
        if len(viewed) == 1:
            return (
                self.graph.values[op.makes[0]].size_bytes > self.graph.values[viewed[0]].size_bytes
            )
        homes = [id(storage) for name in viewed for storage in self.lies_in[name]]
        calls = {
            name.rpartition("[")[0] for name in viewed
        }  # "chunk" of "chunk[1]", nothing of any other name
        parts = len(set(viewed)) == len(viewed) and len(calls) == 1 and "" not in calls
        return len(set(homes)) < len(homes) and not parts


def liveness(graph: Graph, convention: Convention) -> Liveness:
    """Storages and time steps of a graph under a convention."""
    last_read = {read: place for place, op in enumerate(graph.ops) for read in op.reads}
    last_read |= dict.fromkeys(graph.outputs, len(graph.ops))
    walk = _Walk(graph, convention, last_read)
    walk.lies_in |= {name: [] for name in graph.weights}
    for name in graph.inputs:
        walk.allocate(name, -1)
    for place, op in enumerate(graph.ops):
        walk.visit(place, op)
    return Liveness(tuple(walk.storages), tuple(walk.steps))

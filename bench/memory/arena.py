"""An arena plan: the place of every storage of a network in one block of memory.

The planned peak is the most bytes that are alive at once, a lower bound of every arena. An executor
that gives each storage one fixed place needs more where freed places are too small for what
comes next (fragmentation), and where places start at multiples of an alignment.

    greedy_by_size   the largest storage first, each at the lowest place that is free while it is
                     alive (as in the planners of TensorFlow Lite and ExecuTorch)
    best_fit         in the order of execution, each in the smallest free gap that holds it (as an
                     allocator does, which does not know the future)
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from bench.contract import Convention, Inputs
from bench.graph.lowering import trace
from bench.memory.liveness import Liveness, Storage, liveness

Strategy = Literal["greedy_by_size", "best_fit"]
STRATEGIES: tuple[Strategy, ...] = ("greedy_by_size", "best_fit")


@dataclass(frozen=True)
class Placement:
    """The place of a storage.

    Args:
        name: of the storage, after the value that it was made for.
        offset: its first byte in the arena.
        bytes: its size.
        birth, death: first and last operator during which it is alive; an input has birth -1, an
            output dies after the last operator.
    """

    name: str
    offset: int
    bytes: int
    birth: int
    death: int


@dataclass(frozen=True)
class Arena:
    """An arena plan.

    Args:
        strategy, alignment: by which it was made; the alignment in bytes.
        bytes: its size.
        placements: of all storages, in the order of their birth.
    """

    strategy: Strategy
    alignment: int
    bytes: int
    placements: tuple[Placement, ...]


def plan_arena(
    model: nn.Module,
    shape: Inputs,
    convention: Convention = "planned",
    *,
    strategy: Strategy = "greedy_by_size",
    alignment: int = 1,
) -> Arena:
    """Return the arena plan of a network at an input of (N, C, H, W), or at several inputs.

    Raises:
        ConfigError: the network cannot be traced, or uses an operator that is not in the table.
    """
    return place_storages(liveness(trace(model, shape), convention), strategy, alignment)


def place_storages(plan: Liveness, strategy: Strategy, alignment: int) -> Arena:
    """Return an arena in which no two storages that are alive together overlap.

    Args:
        plan: all storages with their lifetimes.
        strategy: the order of the storages and the choice of gaps.
        alignment: of every offset, in bytes.
    """
    order = sorted(plan.storages, key=lambda storage: storage.birth)
    by_size = strategy == "greedy_by_size"
    placed: list[tuple[Storage, int]] = []
    for storage in sorted(order, key=lambda storage: -storage.size_bytes) if by_size else order:
        alive = sorted(
            (offset, offset + other.size_bytes)
            for other, offset in placed
            if other.birth <= storage.death and storage.birth <= other.death
        )
        gaps = _find_gaps(alive, storage.size_bytes, alignment)
        placed.append((storage, gaps[0][1] if by_size else min(gaps)[1]))
    placements = {
        id(storage): Placement(
            storage.name, offset, storage.size_bytes, storage.birth, storage.death
        )
        for storage, offset in placed
    }
    return Arena(
        strategy,
        alignment,
        max((offset + storage.size_bytes for storage, offset in placed), default=0),
        tuple(placements[id(storage)] for storage in order),
    )


def _find_gaps(
    alive: list[tuple[int, int]], size_bytes: int, alignment: int
) -> list[tuple[float, int]]:
    """Return (size of the gap, aligned offset in it) of all gaps that hold a storage.

    Args:
        alive: (begin, end) of what occupies the arena meanwhile, ascending.
        size_bytes: of the storage.
        alignment: of its offset.

    Returns:
        In ascending order of the offsets; the last gap, behind all, has no end.
    """
    gaps: list[tuple[float, int]] = []
    end = 0
    for begin, stop in [*alive, (float("inf"), 0)]:
        offset = -(-end // alignment) * alignment
        if begin - offset >= size_bytes:
            gaps.append((begin - end, offset))
        end = max(end, stop)
    return gaps

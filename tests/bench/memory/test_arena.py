"""Places in an arena: disjoint while alive, never below the planned peak, always the same."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.memory.arena import STRATEGIES, Strategy, place_storages, plan_arena
from bench.memory.liveness import Liveness, Storage
from bench.memory.profile import peak_memory
from tasks.models.unet import UNet
from tests.networks.generated import generate_network

SHAPE = (1, 3, 32, 32)


def storages(*rows: tuple[int, int, int]) -> Liveness:
    """Return storages of (bytes, birth, death)."""
    return Liveness(
        tuple(Storage(str(index), *row, value="") for index, row in enumerate(rows)),
        tuple({birth: None for _, birth, _ in rows}),
    )


LIVES = st.lists(
    st.tuples(st.integers(1, 99), st.integers(-1, 12), st.integers(0, 6)).map(
        lambda drawn: (drawn[0], drawn[1], drawn[1] + drawn[2])
    ),
    max_size=16,
)


@given(LIVES, st.sampled_from(STRATEGIES), st.sampled_from((1, 16)))
def test_what_is_alive_together_does_not_overlap(
    rows: list[tuple[int, int, int]], strategy: Strategy, alignment: int
) -> None:
    plan = storages(*rows)
    arena = place_storages(plan, strategy, alignment)
    for one, other in combinations(arena.placements, 2):
        apart = one.death < other.birth or other.death < one.birth
        below = one.offset + one.bytes <= other.offset
        assert apart or below or other.offset + other.bytes <= one.offset
    assert all(place.offset % alignment == 0 for place in arena.placements)
    alive = [sum(s for s, birth, death in rows if birth <= t <= death) for t in range(-1, 20)]
    assert max(alive) <= arena.bytes <= sum(-(-s // alignment) * alignment for s, *_ in rows)
    assert arena == place_storages(plan, strategy, alignment)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(0, 200, 40))
def test_an_arena_holds_at_least_the_planned_peak(seed: int, strategy: Strategy) -> None:
    network = generate_network(seed)
    arena = plan_arena(network, network.shape, strategy=strategy)
    assert arena.bytes >= peak_memory(network, network.shape)


def test_a_u_net_of_even_widths_has_no_fragments() -> None:
    assert plan_arena(UNet(8), SHAPE).bytes == peak_memory(UNet(8), SHAPE)


def test_the_smallest_gap_that_holds_a_storage_is_filled() -> None:
    # 0 and 2 die and leave gaps of 4 and 3 bytes below 1 and 3; the last storage needs 3.
    plan = storages((4, 0, 0), (1, 0, 9), (3, 0, 0), (1, 0, 9), (3, 1, 2))
    assert place_storages(plan, "best_fit", 1).placements[-1].offset == 5


def test_the_largest_storage_lies_lowest() -> None:
    for order in permutations(((1, 0, 2), (5, 1, 2), (3, 2, 3))):
        arena = place_storages(storages(*order), "greedy_by_size", 1)
        assert {place.bytes: place.offset for place in arena.placements} == {5: 0, 3: 5, 1: 8}

"""The memory of the page: two networks beside each other."""

from typing import Any

from bench.report.page_memory import align_timelines, compare_memory
from bench.units import MIB
from tests.bench.report.synthetic import cell, record


def make_timeline(**sizes: int) -> tuple[dict[str, Any], ...]:
    """Make a timeline of operators with so many MiB alive, all in the operator's output."""
    return tuple(
        {"step": step, "op": op, "bytes": size * MIB, "live": {op: size * MIB}}
        for step, (op, size) in enumerate(sizes.items())
    )


BEFORE = make_timeline(first=4, pool=2, last=6)
AFTER = make_timeline(first=3, **{"compactors.first": 1}, pool=1, last=3)


def test_a_layer_of_both_networks_is_on_one_line() -> None:
    assert align_timelines(BEFORE, AFTER) == [
        ("first", 4.0, 3.0),
        ("skip first", None, 1.0),
        ("pool", 2.0, 1.0),
        ("last", 6.0, 3.0),
    ]


def test_a_layer_that_was_removed_stays_on_its_place() -> None:
    after = tuple(step for step in BEFORE if step["op"] != "pool")
    assert align_timelines(BEFORE, after)[1] == ("pool", 2.0, None)


def test_each_pruned_row_is_compared_with_the_unpruned_one() -> None:
    records = [
        record(cell("unpruned", 1.0), timeline=BEFORE),
        record(cell("mosp", 0.5), timeline=AFTER),
        record(cell("dhp", 0.5)),
    ]
    (compared,) = compare_memory(records)
    assert (compared["label"], compared["ratio"]) == ("mosp", "0.5")
    assert compared["peaks"] == (
        "Peak of the unpruned network: 6.0 MiB in last (last 6.0). "
        "Peak of mosp: 3.0 MiB in first (first 3.0)."
    )


def test_without_the_unpruned_network_there_is_nothing_to_compare() -> None:
    assert compare_memory([record(cell("mosp", 0.5), timeline=AFTER)]) == []

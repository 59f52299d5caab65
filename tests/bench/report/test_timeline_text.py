"""A memory profile as text for a person."""

from bench.memory.profile import profile
from bench.memory.timeline import MemoryProfile, TimeStep
from bench.report.timeline_text import format_timeline
from tests.fakes import Tiny

SHAPE = (1, 3, 64, 64)
MIB = 2**20


def make_profile(timeline: list[dict[str, int]], shape: object = SHAPE) -> MemoryProfile:
    """Make a profile with these live values; a step is named after the last of them."""
    steps = tuple(
        TimeStep(step, list(live)[-1], sum(live.values()), live)
        for step, live in enumerate(timeline)
    )
    return MemoryProfile(shape, "planned", steps, 10, 20)  # type: ignore[arg-type]


def test_the_peak_is_marked_and_what_is_alive_is_named() -> None:
    lines = format_timeline("tiny", profile(Tiny(8), SHAPE)).splitlines()
    assert [line.split()[1] for line in lines if "<- peak" in line] == ["first"]
    there = lines[
        lines.index(next(line for line in lines if line.startswith("alive at the peak"))) + 1 :
    ]
    assert there[0].split() == ["first", "0.1", "MiB", "73%"]


def test_the_top_steps_are_shown_in_the_order_of_time() -> None:
    printed = format_timeline(
        "net", make_profile([{"a": 3 * MIB}, {"b": MIB}, {"c": 5 * MIB}, {"d": 4 * MIB}]), top=3
    )
    assert "the 3 of 4 time steps with the most bytes" in printed
    assert [line.split()[1] for line in printed.splitlines() if "#" in line] == ["a", "c", "d"]


def test_many_small_values_at_the_peak_are_one_line() -> None:
    printed = format_timeline(
        "net", make_profile([{f"v{index}": (index + 1) * MIB for index in range(20)}])
    )
    assert "9 smaller ones" in printed and "v19" in printed and "v3 " not in printed
    assert "45.0 MiB" in next(
        line for line in printed.splitlines() if line.startswith("9 smaller ones")
    )


def test_the_shapes_of_several_inputs_are_told() -> None:
    assert "net at 1x3x64x64,1x1x64x64, convention planned" in format_timeline(
        "net", make_profile([{"a": MIB}], (SHAPE, (1, 1, 64, 64)))
    )


def test_a_name_that_looks_like_a_number_stays_as_it_is() -> None:
    assert [
        line.split()[:2]
        for line in format_timeline("net", make_profile([{"1": MIB}])).splitlines()
        if "#" in line
    ] == [["0", "1"]]

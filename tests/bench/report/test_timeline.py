"""A memory profile for a person."""

from bench.memory.profile import profile
from bench.report.timeline import text
from tests.fakes import Tiny


def test_the_peak_is_marked_and_what_is_alive_is_named() -> None:
    lines = text("tiny", profile(Tiny(8), (1, 3, 64, 64))).splitlines()
    assert [line.split()[1] for line in lines if "<- peak" in line] == ["first"]
    assert any(line.startswith("alive there first") for line in lines)

"""The process of all jobs gives back what they have freed."""

import sys
from pathlib import Path

import pytest

from bench.runner.executors.serial import give_back_memory

BLOCK = 60_000  # bytes; glibc gives larger ones back by itself
MIB = 2**20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="glibc and /proc are those of Linux")
def test_freed_blocks_between_others_go_back_to_the_system() -> None:
    blocks = [bytearray(BLOCK) for _ in range(4000)]
    last = bytearray(BLOCK)
    full = resident_bytes()
    blocks.clear()
    give_back_memory()
    assert resident_bytes() < full - 150 * MIB
    assert len(last) == BLOCK

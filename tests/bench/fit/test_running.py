"""A way is run as it is planned, and its seconds say whether they are measured."""

import pytest
import torch
from torch import nn

from bench.contract import Budget
from bench.fit.running import make_runner, time_ways
from bench.fit.ways import list_ways
from bench.memory.profile import peak_memory
from bench.tiling.network import InPrecision
from tests.fakes import Tiny

SHAPE = (1, 3, 48, 48)


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return Tiny(16).eval()


@pytest.fixture(scope="module")
def budget(tiny: Tiny) -> Budget:
    return Budget(peak_memory(tiny, SHAPE) * 3 // 5, SHAPE)


@pytest.mark.parametrize("executor", ["lean", "pytorch"])
def test_every_way_restores_what_the_network_restores(tiny, budget: Budget, executor) -> None:
    image = torch.rand(SHAPE)
    with torch.inference_mode():
        whole = tiny(image)
        for way in list_ways({1.0: tiny}, budget, 2, executor):
            if not way.obstacle:
                restored = InPrecision(make_runner(tiny, way, SHAPE, executor))(image)
                tolerance = 1e-5 if way.precision == "float32" else 2e-2
                assert torch.allclose(restored, whole, atol=tolerance), way


def test_seconds_are_estimated_of_a_network_that_accepts_no_small_image() -> None:
    first, last = nn.Conv2d(27, 16, 3, padding=1), nn.Conv2d(16, 27, 3, padding=1)
    thirds = nn.Sequential(nn.PixelUnshuffle(3), first, last, nn.PixelShuffle(3)).eval()
    budget = Budget(10**9, (1, 3, 192, 192))
    ways = list_ways({1.0: thirds}, budget, 2, "lean")
    assert all(way.seconds for way in time_ways({1.0: thirds}, ways, budget, "lean", None))


def test_without_a_limit_seconds_are_estimated_by_the_macs(tiny, budget: Budget) -> None:
    ways = list_ways({1.0: tiny}, budget, 2, "lean")
    timed = time_ways({1.0: tiny}, ways, budget, "lean", None)
    exact, inexact = (way for way in timed[1:3])
    assert not any(way.is_measured for way in timed)
    assert exact.seconds / exact.macs == pytest.approx(inexact.seconds / inexact.macs)


def test_with_a_limit_the_front_is_measured_but_for_what_takes_long(
    tiny, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = list_ways({1.0: tiny}, budget, 2, "lean")
    assert any(way.is_measured for way in time_ways({1.0: tiny}, ways, budget, "lean", 9.0))
    monkeypatch.setattr("bench.fit.running.LONGEST_SECONDS", 0.0)
    assert not any(way.is_measured for way in time_ways({1.0: tiny}, ways, budget, "lean", 9.0))

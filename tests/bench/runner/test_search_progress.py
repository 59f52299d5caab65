"""How far a search is from its budget, as the harness sees it."""

from typing import Any

import torch
from torch import nn

from bench.contract import Budget
from bench.runner.executors.serial import SerialExecutor
from bench.runner.progress import Progress
from bench.runner.run import run_study
from bench.runner.search_progress import SearchProgress
from tests.fakes import Tiny, tiny_peak_bytes
from tests.networks.small import SHAPE

PEAK = tiny_peak_bytes(8, SHAPE)


class Listener(Progress):
    """Notes what searches tell."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, float | None]] = []

    def on_search(self, target: float, peak: float | None = None) -> None:
        self.heard.append((target, peak))


def test_a_search_tells_its_budget_and_the_peak_of_the_network_that_it_trains() -> None:
    listener = Listener()
    search = SearchProgress(listener, PEAK)
    search.note_network(Tiny(4))  # no search has begun
    search.aim(Budget(PEAK // 2, SHAPE))
    search.note_network(Tiny(4))
    assert listener.heard == [(0.5, None), (0.5, tiny_peak_bytes(4, SHAPE) / PEAK)]


def test_a_network_that_cannot_be_traced_has_no_peak() -> None:
    listener = Listener()
    search = SearchProgress(listener, PEAK)
    search.aim(Budget(PEAK // 2, SHAPE))
    search.note_network(Branches())
    assert listener.heard == [(0.5, None)]


class Branches(nn.Module):
    """Decides by its input, which no trace can follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_the_peak_of_mosp_falls_to_the_budget_of_a_run(study: Any, store: Any) -> None:
    listener = Listener()
    mosp = "methods=[{method='mosp', outer_stride='1/4'}]"
    run_study(study(mosp, "ratios=[0.5]"), store, SerialExecutor(), progress=listener)
    (target, first), *trained = listener.heard
    assert (target, first) == (0.5, None) and len(trained) > 1
    peaks = [peak for _, peak in trained]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] < 1 and peaks[-1] <= target

"""The peak by a runtime's plan: its tensors are found in our graph, and its planner is asked again.

The runtime is a small one of this file, whose plan is our own eager liveness with padded sizes; the
real ones are in tests/bench/runtimes.
"""

from collections.abc import Sequence

import pytest
from torch import nn

from bench.contract import Budget, Inputs
from bench.errors import ConfigError
from bench.graph.lowering import trace
from bench.memory.liveness import liveness
from bench.memory.profile import peak_memory
from bench.runtimes import registry
from bench.runtimes.runtime import MemoryPlan, PlannedTensor, Planner
from bench.surgery import runtime_peak_model as module
from bench.surgery.analysis import analyse_network
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import uniform_widths
from tests.networks.small import SHAPE, Residual, Shuffled, draw_kept, network_layout, unet

BUDGET = Budget(1, SHAPE, "onnxsim")
LOST = 100  # bytes of each arena


class EagerPlanner(Planner):
    """Plans the storages of "eager", in an arena that loses a few bytes.

    Args:
        surplus: bytes of the first tensor beside its value, at each plan once more.
    """

    protocol = "for tests"

    def __init__(self, surplus: int = 0) -> None:
        self.surplus = surplus
        self.plans = 0

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, None]:
        return self.plan(model, shape).peak_bytes, None

    def plan(self, model: nn.Module, shape: Inputs) -> MemoryPlan:
        storages = liveness(trace(model, shape), "eager").storages
        self.plans += 1
        tensors = tuple(
            PlannedTensor(
                storage.name,
                storage.size_bytes + (0 if index else self.plans * self.surplus),
                storage.birth,
                storage.death,
                index,
            )
            for index, storage in enumerate(storages)
        )

        def replay(sizes: Sequence[int]) -> int:
            return LOST + max(
                sum(
                    size
                    for size, tensor in zip(sizes, tensors, strict=True)
                    if tensor.birth <= position <= tensor.death
                )
                for position in {tensor.birth for tensor in tensors}
            )

        return MemoryPlan(replay([tensor.size_bytes for tensor in tensors]), tensors, replay)


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch) -> EagerPlanner:
    planner = EagerPlanner()
    for where in (module, registry):
        monkeypatch.setattr(where, "load_planner", lambda name: planner)
    return planner


@pytest.mark.parametrize("build", [unet, lambda: unet(compactors=True), Residual, Shuffled])
def test_it_is_the_plan_of_the_pruned_network_at_any_widths(build, planner) -> None:
    network = build()
    model = analyse_network(network, BUDGET).peak_model
    for seed in range(5):
        kept = draw_kept(network_layout(network), seed)
        widths = {unit: len(indices) for unit, indices in kept.items()}
        planned = planner.plan(remove_channels(network, kept, SHAPE), SHAPE).peak_bytes
        assert model.peak_bytes(widths) == model.step_bytes(widths).max() == planned
    assert any(map(model.per_channel, range(len(model.steps))))


def test_few_plans_are_needed(planner) -> None:
    analyse_network(unet(), BUDGET)
    assert planner.plans <= 1 + module.MOST_PROBES


def test_a_method_meets_a_budget_by_the_plan(planner) -> None:
    network = unet(8)
    peak_bytes = planner.plan(network, SHAPE).peak_bytes // 2
    analysis = analyse_network(network, BUDGET)
    widths = uniform_widths(analysis, Budget(peak_bytes, SHAPE, "onnxsim"), 1)
    kept = {unit: list(range(width)) for unit, width in widths.items()}
    smaller = planner.plan(remove_channels(network, kept, SHAPE), SHAPE).peak_bytes
    assert 0.7 * peak_bytes < smaller <= peak_bytes


def test_a_small_difference_is_a_margin_and_a_large_one_an_error(monkeypatch) -> None:
    peak_bytes = peak_memory(unet(), SHAPE, "eager")
    monkeypatch.setattr(module, "load_planner", lambda name: EagerPlanner(peak_bytes // 400))
    model = analyse_network(unet(), BUDGET).peak_model
    assert 0 < model.margin < 0.02 and model.peak_bytes({}) > peak_bytes
    monkeypatch.setattr(module, "load_planner", lambda name: EagerPlanner(peak_bytes // 10))
    with pytest.raises(ConfigError, match=r"sizes do not follow from the widths .*--convention"):
        analyse_network(unet(), BUDGET)

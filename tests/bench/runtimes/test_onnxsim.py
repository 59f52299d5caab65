"""The plan of onnxsim, by hand, and again for other widths."""

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Budget
from bench.runtimes.registry import installed_runtimes, load_planner
from bench.runtimes.runtime import MemoryPlan
from bench.surgery.analysis import analyse_network
from bench.surgery.remove import remove_channels

if "onnxsim" not in installed_runtimes():
    pytest.skip("needs onnxsim: pip install 'prunebench[onnxsim]'", allow_module_level=True)

SHAPE = (1, 3, 8, 8)
CHANNEL = 8 * 8 * 4  # bytes


class Skip(nn.Module):
    """Full-resolution channels: 3, a: 8, relu in a's place, b: 6, cat: 14, out: 3."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 6, 3, padding=1)
        self.c = nn.Conv2d(14, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.a(x))
        return self.c(torch.cat([a, self.b(a)], 1))


@pytest.fixture(scope="module")
def plan() -> MemoryPlan:
    return load_planner("onnxsim").plan(Skip(), SHAPE)


def test_a_concat_is_copied_and_a_relu_works_in_place(plan: MemoryPlan) -> None:
    assert plan.peak_bytes == (8 + 6 + 14) * CHANNEL
    sizes = [tensor.size_bytes // CHANNEL for tensor in plan.tensors]
    assert sizes == [3, 8, 8, 6, 14, 3]
    assert plan.tensors[1].place == plan.tensors[2].place


def test_the_planner_answers_for_other_sizes(plan: MemoryPlan) -> None:
    assert plan.replay([tensor.size_bytes for tensor in plan.tensors]) == plan.peak_bytes
    channels = [3, 2, 2, 6, 8, 3]
    assert plan.replay([number * CHANNEL for number in channels]) == (2 + 6 + 8) * CHANNEL


def test_widths_foretell_the_plan_of_the_pruned_network() -> None:
    model = analyse_network(Skip(), Budget(1, SHAPE, "onnxsim")).peak_model
    smaller = remove_channels(Skip(), {"a": [0, 3, 7], "b": [1]}, SHAPE)
    peak_bytes = load_planner("onnxsim").plan(smaller, SHAPE).peak_bytes
    assert model.peak_bytes({"a": 3, "b": 1}) == peak_bytes == (3 + 1 + 4) * CHANNEL

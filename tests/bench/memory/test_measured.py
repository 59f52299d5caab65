"""The measured ruler against what can be counted: it lies between the plan and all that is ever allocated."""

import pytest
import torch
from torch import nn

from bench.memory.measured import measured_peak_bytes, place
from bench.memory.profile import peak_memory, profile
from tasks.models.unet import UNet
from tests.fakes import Tiny

SHAPE = (1, 3, 128, 128)


class Adds(nn.Module):
    """An input and one result of its size: nothing else is ever alive."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


def test_one_addition_allocates_its_input_and_its_result() -> None:
    assert measured_peak_bytes(Adds(), SHAPE) == 2 * 4 * 3 * 128 * 128


@pytest.mark.parametrize("width", [4, 8])
def test_a_unet_needs_what_is_planned_and_less_than_everything_together(width: int) -> None:
    model = UNet(width=width, levels=3)
    measured = measured_peak_bytes(model, SHAPE)
    everything = sum(step.bytes for step in profile(model, SHAPE, "eager").timeline)
    assert peak_memory(model, SHAPE) <= measured < everything


def test_it_is_the_same_twice_and_leaves_the_mode_alone() -> None:
    model = Tiny(4).train()
    assert measured_peak_bytes(model, SHAPE) == measured_peak_bytes(model, SHAPE)
    assert model.training and f"torch {torch.__version__}" in place()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_allocator_says_the_same_of_one_addition() -> None:
    assert measured_peak_bytes(Adds(), SHAPE, "cuda") == 2 * 4 * 3 * 128 * 128

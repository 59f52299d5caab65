"""Measured memory lies between the planned peak and the sum of all that is ever allocated."""

import pytest
import torch
from torch import nn

from bench.memory.measured import describe_protocol, measured_peak_bytes
from bench.memory.profile import peak_memory, profile
from tasks.models.unet import UNet
from tests.fakes import Tiny

SHAPE = (1, 3, 128, 128)


class Adds(nn.Module):
    """An addition: only its input and a result of equal size are ever alive."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


def test_one_addition_allocates_its_input_and_its_result() -> None:
    assert measured_peak_bytes(Adds(), SHAPE) == 2 * 4 * 3 * 128 * 128


def test_a_layer_whose_result_is_smaller_than_its_input_needs_what_is_planned() -> None:
    layer = nn.Conv2d(3, 1, 1)  # a conversion of the input would count it twice
    assert measured_peak_bytes(layer, SHAPE) == peak_memory(layer, SHAPE) == 4 * 4 * 128 * 128


@pytest.mark.parametrize("width", [4, 8])
def test_a_unet_needs_what_is_planned_and_less_than_everything_together(width: int) -> None:
    model = UNet(width=width, levels=3)
    measured = measured_peak_bytes(model, SHAPE)
    everything = sum(step.bytes for step in profile(model, SHAPE, "eager").timeline)
    assert peak_memory(model, SHAPE) <= measured < everything


def test_a_measurement_is_reproducible_and_does_not_change_the_mode() -> None:
    model = Tiny(4).train()
    assert measured_peak_bytes(model, SHAPE) == measured_peak_bytes(model, SHAPE)
    assert model.training and f"torch {torch.__version__}" in describe_protocol()


def test_a_network_that_accepts_no_small_input_is_measured() -> None:
    network, shape = nn.Sequential(nn.PixelUnshuffle(3), nn.Conv2d(27, 3, 1)), (1, 3, 96, 96)
    assert measured_peak_bytes(network, shape) >= peak_memory(network, shape)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_allocator_says_the_same_of_one_addition() -> None:
    assert measured_peak_bytes(Adds(), SHAPE, "cuda") == 2 * 4 * 3 * 128 * 128

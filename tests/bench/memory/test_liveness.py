"""Births and deaths on graphs small enough to work out by hand, in float32."""

import pytest
import torch
from torch import Tensor, nn

from bench.graph.lowering import trace
from bench.memory.as_run import as_run_peak_bytes
from bench.memory.liveness import liveness
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory, timeline

SHAPE = (1, 2, 4, 4)
CHANNEL = 16 * 4  # bytes of one channel


class _Add(nn.Module):
    """x is read again by the addition, which may overwrite it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class _Twice(nn.Module):
    """The activation cannot overwrite its operand, which is read later by a concat of three."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 1)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(torch.cat((torch.relu(y), y, x), 1))


def test_a_residual_add_overwrites_its_first_dying_operand() -> None:
    assert [step.bytes for step in timeline(_Add(), SHAPE)] == [4 * CHANNEL]


def test_eager_allocates_for_an_add_that_is_not_written_in_place() -> None:
    assert [step.bytes for step in timeline(_Add(), SHAPE, "eager")] == [4 * CHANNEL, 6 * CHANNEL]


def test_an_operand_that_is_read_later_is_not_overwritten() -> None:
    channels = [step.bytes // CHANNEL for step in timeline(_Twice(), SHAPE)]
    assert channels == [5, 8, 9]


def test_eager_copies_a_concat() -> None:
    steps = timeline(_Twice(), SHAPE, "eager")
    assert [step.op for step in steps] == ["first", "relu", "cat", "last"]
    assert steps[2].bytes == 16 * CHANNEL


@pytest.mark.parametrize(
    ("layer", "padded"),
    [
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), 6 * 6),
        (nn.Conv2d(2, 3, (3, 5), padding=(1, 2), padding_mode="reflect"), 6 * 8),
        (nn.Conv2d(2, 3, 3, padding="same", dilation=2, padding_mode="circular"), 8 * 8),
        (nn.Conv2d(2, 3, 1, padding="valid", padding_mode="replicate"), 4 * 4),
        (nn.Conv2d(2, 3, (2, 3), padding="same"), 5 * 4),
        (nn.Conv2d(2, 3, 3, padding="same"), 0),
    ],
)
def test_eager_counts_the_copy_that_pytorch_pads(layer: nn.Conv2d, padded: int) -> None:
    network = nn.Sequential(layer)
    eager = peak_memory(network, SHAPE, "eager")
    assert eager == as_run_peak_bytes(network, SHAPE)
    assert eager - 2 * 4 * padded == peak_memory(network, SHAPE)  # which needs no copy


def test_the_padded_copy_shrinks_with_its_input() -> None:
    """The first step is input and result, the second also has 36 pixels of each channel."""
    layers = [nn.Conv2d(2, 6, 1), nn.Conv2d(6, 2, 3, padding=1, padding_mode="reflect")]
    model = peak_model(nn.Sequential(*layers), SHAPE, "eager")
    assert model.step_bytes({"0": 6}).tolist() == [8 * CHANNEL, 8 * CHANNEL + 6 * 4 * 36]
    assert model.step_bytes({"0": 1}).tolist() == [3 * CHANNEL, 3 * CHANNEL + 1 * 4 * 36]


def test_the_output_lives_to_the_end_and_the_input_only_while_needed() -> None:
    plan = liveness(trace(_Twice(), SHAPE), "planned")
    deaths = {storage.name: storage.death for storage in plan.storages}
    assert deaths["last"] == 4
    assert deaths["x"] == 3


class Reshaped(nn.Module):
    """Reshapes what a convolution gives, as it is or transposed, which takes a copy."""

    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.transposed = transposed

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return (y.transpose(2, 3) if self.transposed else y).reshape(1, 4, 8, 32)


@pytest.mark.parametrize(("transposed", "channels"), [(False, 3 + 4), (True, 4 + 4)])
def test_a_reshape_that_copies_allocates_in_pytorch_and_not_when_planned(
    transposed: bool, channels: int
) -> None:
    network, shape = Reshaped(transposed), (1, 3, 16, 16)
    assert peak_memory(network, shape, "eager") == channels * 16 * 16 * 4
    assert peak_memory(network, shape, "planned") == (3 + 4) * 16 * 16 * 4

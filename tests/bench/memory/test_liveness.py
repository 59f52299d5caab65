"""Births and deaths on graphs small enough to work out by hand, in float32."""

import torch
from torch import Tensor, nn

from bench.graph.lowering import trace
from bench.memory.liveness import liveness
from bench.memory.profile import timeline

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


def test_the_output_lives_to_the_end_and_the_input_only_while_needed() -> None:
    plan = liveness(trace(_Twice(), SHAPE), "planned")
    deaths = {storage.name: storage.death for storage in plan.storages}
    assert deaths["last"] == 4
    assert deaths["x"] == 3

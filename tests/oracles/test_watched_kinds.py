"""The oracle against numbers counted by hand for each kind of operator, in channels of 8x8 floats.

Every network is head -> one kind of operator -> tail: the head reads 3 channels and makes 4 (7 are
alive), the tail reads 4 and makes 3.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.oracles.watched_memory import watch


class Shift(nn.Conv2d):
    """A torch.nn layer that a subclass only sets up."""

    def __init__(self) -> None:
        super().__init__(4, 4, 3, padding=1, padding_mode="replicate")


class Kinds(nn.Module):
    """head -> one of the methods -> tail."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.head = nn.Conv2d(3, 4, 3, padding=1)
        self.tail = nn.Conv2d(4, 3, 1)
        self.same = nn.Conv2d(4, 4, 1)
        self.one = nn.Conv2d(4, 1, 1)
        self.wide = nn.Conv2d(4, 8, 1)
        self.narrow = nn.Conv2d(8, 4, 1)
        self.scale = nn.Parameter(torch.rand(4))
        self.plane = nn.Parameter(torch.rand(1, 2, 8, 8))
        self.linear = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4))
        self.layers = nn.ModuleDict(LAYERS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        middle = self.layers[self.kind] if self.kind in self.layers else getattr(self, self.kind)
        return self.tail(middle(y))

    def parts_added(self, y: Tensor) -> Tensor:
        a, b = self.wide(y).chunk(2, dim=1)
        return a + b

    def parts_swapped(self, y: Tensor) -> Tensor:
        a, b = torch.split(y, [1, 3], 1)
        return torch.cat((b, a), 1)

    def sliced(self, y: Tensor) -> Tensor:
        return self.wide(y)[:, 2:6].tanh()

    def expanded(self, y: Tensor) -> Tensor:
        return y.mean(1, keepdim=True).expand(-1, 4, -1, -1).sigmoid()

    def channel_gate(self, y: Tensor) -> Tensor:
        return y * y.mean((2, 3), keepdim=True).sigmoid()

    def spatial_gate(self, y: Tensor) -> Tensor:
        return self.one(y).sigmoid() * y

    def spread_like(self, y: Tensor) -> Tensor:
        gate = self.one(y).expand_as(y)
        return self.same(y * gate) + gate

    def turned(self, y: Tensor) -> Tensor:
        return y.transpose(2, 3).reshape(1, 4, 64).view(1, 4, 8, 8)

    def unshuffled(self, y: Tensor) -> Tensor:
        return F.pixel_shuffle(F.pixel_unshuffle(y, 2), 2)

    def channels_last(self, y: Tensor) -> Tensor:
        return self.linear(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def softmax(self, y: Tensor) -> Tensor:
        return torch.softmax(y, 1)

    def cloned(self, y: Tensor) -> Tensor:
        return y.clone()

    def masked(self, y: Tensor) -> Tensor:
        return y * (y > 0)

    def unused(self, y: Tensor) -> Tensor:
        self.same(y)
        return y

    def viewed_weight(self, y: Tensor) -> Tensor:
        return self.scale.view(1, 4, 1, 1) * y

    def computed_weight(self, y: Tensor) -> Tensor:
        return y * (self.scale * 2).view(1, 4, 1, 1)

    def joined_with_weight(self, y: Tensor) -> Tensor:
        return torch.relu(torch.cat((y, self.plane), 1))[:, :4]

    def joined_with_itself(self, y: Tensor) -> Tensor:
        return torch.cat((y, y), 1).tanh()[:, 2:6]

    def halves_joined(self, y: Tensor) -> Tensor:
        return torch.cat((y[:, :2], y[:, :2]), 1).tanh()

    def written_after_joining(self, y: Tensor) -> Tensor:
        joined = torch.cat((y, self.same(y)), 1)
        y.relu_()
        return self.narrow(joined) + y


LAYERS = {
    "BatchNorm": nn.BatchNorm2d(4),
    "InstanceNorm": nn.InstanceNorm2d(4, affine=True),
    "GroupNorm": nn.GroupNorm(2, 4),
    "PReLU": nn.PReLU(4),
    "Mish": nn.Mish(),
    "Dropout2d": nn.Dropout2d(0.5),
    "Upsample": nn.Upsample(scale_factor=1, mode="bilinear"),
    "ZeroPad2d": nn.ZeroPad2d(0),
    "Shift": Shift(),
    "Softsign": nn.Softsign(),
}

SMALL = 4 / 64  # four numbers

BY_HAND = {  # planned, eager
    "parts_added": ([7, 12, 11], [7, 12, 12, 7]),  # planned: the sum lies in all of the wide value
    "parts_swapped": ([7, 7], [7, 8, 7]),
    "sliced": ([7, 12, 11], [7, 12, 12, 7]),
    # An expanded value has too few memory locations to be overwritten.
    "expanded": ([7, 5, 5, 7], [7, 5, 5, 7]),
    "channel_gate": ([7, 4 + SMALL, 7], [7, 4 + SMALL, 4 + 2 * SMALL, 8 + SMALL, 7]),
    "spatial_gate": ([7, 5, 7], [7, 5, 6, 9, 7]),
    # The gate does not lie in the value to whose size it is expanded.
    "spread_like": ([7, 5, 9, 7], [7, 5, 9, 9, 9, 7]),
    "turned": ([7, 7], [7, 8, 7]),
    "unshuffled": ([7, 7], [7, 8, 8, 7]),
    "channels_last": ([7, 20, 20, 7], [7, 20, 32, 20, 7]),
    "softmax": ([7, 8, 7], [7, 8, 7]),
    "cloned": ([7, 8, 7], [7, 8, 7]),
    "masked": ([7, 5, 7], [7, 5, 9, 7]),  # a truth value has one byte
    "unused": ([7, 8, 7], [7, 8, 7]),
    "viewed_weight": ([7, 7], [7, 8, 7]),
    "computed_weight": ([7, 4 + SMALL, 7], [7, 4 + SMALL, 8 + SMALL, 7]),
    # A weight is never overwritten, nor a value that lies in it.
    "joined_with_weight": ([7, 10, 9], [7, 10, 12, 9]),
    "joined_with_itself": ([7, 12, 11], [7, 12, 16, 11]),
    "halves_joined": ([7, 8, 7], [7, 8, 8, 7]),
    # Planned: the concat still reads the old value.
    "written_after_joining": ([7, 8, 12, 16, 7], [7, 8, 16, 16, 12, 7]),
    "BatchNorm": ([7, 7], [7, 8, 7]),
    "InstanceNorm": ([7, 8, 7], [7, 8, 7]),
    "GroupNorm": ([7, 8, 7], [7, 8, 7]),
    "PReLU": ([7, 7], [7, 8, 7]),
    "Mish": ([7, 7], [7, 8, 7]),
    "Dropout2d": ([7, 7], [7, 7]),
    "Upsample": ([7, 8, 7], [7, 8, 7]),
    "ZeroPad2d": ([7, 8, 7], [7, 8, 7]),
    "Shift": ([7, 8, 7], [7, 8 + 4 * 100 / 64, 7]),  # PyTorch pads a copy of 10x10
    "Softsign": ([7, 7], [7, 8, 7]),
}


def channels(steps: list[tuple[str, int]], number_bytes: int = 4) -> list[float]:
    return [size / (8 * 8 * number_bytes) for _, size in steps]


@pytest.mark.parametrize("kind", BY_HAND)
def test_each_kind_needs_what_is_counted_by_hand(kind: str) -> None:
    torch.manual_seed(0)
    planned, eager = BY_HAND[kind]
    assert channels(watch(Kinds(kind), (1, 3, 8, 8), "planned")) == planned
    assert channels(watch(Kinds(kind), (1, 3, 8, 8), "eager")) == eager


@pytest.mark.parametrize("kind", BY_HAND)
def test_double_precision_needs_twice_as_much(kind: str) -> None:
    if kind != "masked":
        steps = watch(Kinds(kind).double(), (1, 3, 8, 8), "planned")
        assert channels(steps, number_bytes=8) == BY_HAND[kind][0]


class TwoInputs(nn.Module):
    """A concat of both inputs, or only the first one."""

    def __init__(self, joined: bool) -> None:
        super().__init__()
        self.joined = joined
        self.conv = nn.Conv2d(4 if joined else 3, 4, 1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.conv(torch.cat([x, noise], 1) if self.joined else x)


@pytest.mark.parametrize(("joined", "planned", "eager"), [(True, [8], [8, 8]), (False, [7], [7])])
def test_every_input_counts_as_long_as_it_is_needed(
    joined: bool, planned: list[float], eager: list[float]
) -> None:
    shapes = ((1, 3, 8, 8), (1, 1, 8, 8))
    assert channels(watch(TwoInputs(joined), shapes, "planned")) == planned
    assert channels(watch(TwoInputs(joined), shapes, "eager")) == eager


class SeveralOutputs(nn.Module):
    """Returns an early value twice, and a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 3, padding=1)
        self.tail = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> dict[str, object]:
        y = self.head(x)
        return {"image": self.tail(F.relu(y)), "features": [y, (y, y[:, :2])]}


@pytest.mark.parametrize("convention", ["planned", "eager"])
def test_what_is_returned_lives_to_the_end(convention: str) -> None:
    assert channels(watch(SeveralOutputs(), (1, 3, 8, 8), convention)) == [7, 8, 11]


class OverwritesItsInput(nn.Module):
    """An activation of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(x))


@pytest.mark.parametrize(("convention", "by_hand"), [("planned", [7]), ("eager", [6, 7])])
def test_an_input_is_a_storage_like_any_other(convention: str, by_hand: list[float]) -> None:
    assert channels(watch(OverwritesItsInput(), (1, 3, 8, 8), convention)) == by_hand

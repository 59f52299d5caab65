"""The oracle against numbers counted by hand, in channels of 8x8 floats."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.oracles.watched_memory import Planned, watch


class Small(nn.Module):
    """head -> one of the methods, chosen by name -> tail."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.head = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Conv2d(4, 16, 1)
        self.tail = nn.Conv2d(4, 3, 1)
        self.first = nn.Conv2d(4, 4, 1)
        self.second = nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU()
        self.wide = nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(getattr(self, self.kind)(self.head(x)))

    def add(self, x: Tensor) -> Tensor:
        return x + self.second(self.act(self.first(x)))

    def add_in_place(self, x: Tensor) -> Tensor:
        x += self.second(self.act(self.first(x)))
        return x

    def shuffle(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.body(x), 2)

    def gate(self, x: Tensor) -> Tensor:
        a, b = self.wide(x).chunk(2, 1)
        return a * b.sigmoid()

    def reread(self, x: Tensor) -> Tensor:
        return self.act(x) + x

    def twin(self, x: Tensor) -> Tensor:
        return torch.relu_(self.first(x)) + self.second(x)

    def overwritten_concat(self, x: Tensor) -> Tensor:
        joined = torch.cat((self.first(x), self.second(x)), 1)
        return F.leaky_relu(joined, 0.1)[:, 2:6]


BY_HAND = {
    ("add", "planned"): [7, 8, 12, 7],
    ("add", "eager"): [7, 8, 12, 12, 12, 7],
    ("add_in_place", "planned"): [7, 8, 12, 7],
    ("add_in_place", "eager"): [7, 8, 12, 12, 7],
    ("shuffle", "planned"): [7, 20, 28],
    ("shuffle", "eager"): [7, 20, 32, 28],
    # b lies in the storage of a, so the sigmoid allocates; the product lies in all of it.
    ("gate", "planned"): [7, 12, 12, 11],
    ("gate", "eager"): [7, 12, 12, 16, 7],
    ("reread", "planned"): [7, 8, 7],
    ("reread", "eager"): [7, 8, 12, 7],
    ("twin", "planned"): [7, 8, 12, 7],
    ("twin", "eager"): [7, 8, 12, 12, 7],
    ("overwritten_concat", "planned"): [7, 8, 12, 11],
    ("overwritten_concat", "eager"): [7, 8, 12, 16, 16, 11],
}


@pytest.mark.parametrize(("kind", "convention"), BY_HAND)
def test_small_networks_need_what_is_counted_by_hand(kind: str, convention: str) -> None:
    steps = watch(Small(kind), (1, 3, 8, 8), convention)
    assert [size / (8 * 8 * 4) for _, size in steps] == BY_HAND[kind, convention]


def test_a_plan_that_destroys_a_needed_value_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Planned, "find_overwritable", lambda self, op, out, now: self.values[op.reads()[0]]
    )
    with pytest.raises(AssertionError, match="not close"):
        watch(Small("reread"), (1, 3, 8, 8), "planned")


def test_watching_leaves_the_network_alone() -> None:
    network = Small("add").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    watch(network, (1, 3, 8, 8), "planned")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

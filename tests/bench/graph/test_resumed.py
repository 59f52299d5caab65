"""A resumed network computes what the whole one does, and only what follows a change."""

import pytest
import torch
from torch import Tensor, nn

from bench.graph.resumed import ResumedNetwork

CALLS = "conv1", "conv2", "conv3"


class Chain(nn.Module):
    """Three convolutions; the result of the first is overwritten after the second has read it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.calls: list[str] = []
        for name in CALLS:
            self.get_submodule(name).register_forward_hook(
                lambda *_, name=name: self.calls.append(name)
            )

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        second = self.conv2(first)
        first += second
        return self.conv3(first)


@pytest.fixture
def chain() -> Chain:
    return Chain().eval()


def change(network: Chain, layer: str) -> Tensor:
    """Change a layer, and return what the network then computes of ones."""
    with torch.no_grad():
        network.get_submodule(layer).weight.mul_(2)
        result = network(torch.ones(1, 3, 8, 8))
    network.calls.clear()
    return result


@torch.inference_mode()
@pytest.mark.parametrize(
    ("layer", "called"),
    [
        ("conv3", ["conv3"]),
        pytest.param("conv2", ["conv1", "conv2", "conv3"], id="conv2, whose input is overwritten"),
        ("conv1", ["conv1", "conv2", "conv3"]),
    ],
)
def test_only_what_follows_a_change_is_computed(
    chain: Chain, layer: str, called: list[str]
) -> None:
    x = torch.ones(1, 3, 8, 8)
    resumed = ResumedNetwork(chain, CALLS)
    resumed(x)
    expected = change(chain, layer)
    with resumed.run_as(chain, [layer]):
        torch.testing.assert_close(resumed(x), expected)
    assert chain.calls == called


@torch.inference_mode()
def test_another_version_takes_the_place_of_the_network(chain: Chain) -> None:
    x = torch.ones(1, 3, 8, 8)
    resumed = ResumedNetwork(chain, CALLS)
    resumed(x)
    expected = change(chain, "conv3")
    resumed.replace(chain, ["conv3"])
    for _ in range(2):
        with resumed.run_from([]):
            torch.testing.assert_close(resumed(x), expected)
    assert chain.calls == ["conv3"]


@torch.inference_mode()
def test_inputs_for_which_there_is_no_room_are_computed_whole(chain: Chain) -> None:
    inputs = torch.rand(3, 1, 3, 8, 8).unbind()
    resumed = ResumedNetwork(chain, ["conv3"], kept_bytes=3 * 8 * 8 * 4)
    for x in inputs:
        resumed(x)
    chain.calls.clear()
    for x in inputs:
        with resumed.run_as(chain, ["conv3"]):
            torch.testing.assert_close(resumed(x), chain(x), rtol=0, atol=0)
    assert chain.calls.count("conv1") == len(inputs) + 2


def test_gradients_reach_what_follows_the_change(chain: Chain) -> None:
    resumed = ResumedNetwork(chain, ["conv3"])
    resumed(torch.ones(1, 3, 8, 8)).sum().backward()
    assert [chain.get_submodule(name).weight.grad is None for name in CALLS] == [True, True, False]

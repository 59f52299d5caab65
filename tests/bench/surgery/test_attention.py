"""Surgery on networks whose code knows the number of channels: heads, splits, slices."""

import pytest
import torch
from torch import Tensor, nn

from bench.channels.units import channel_layout
from bench.channels.written_form import write_out
from bench.graph.lowering import trace
from bench.graph.tracing_at_shape import trace_at_shape
from bench.memory.profile import peak_memory
from bench.surgery.masks import mask_channels
from bench.surgery.remove import remove_channels
from tests.networks.refused import Around
from tests.networks.shaped import ATTENTION, SHAPE, SHAPED, WIDTH
from tests.networks.small import draw_kept


def written(habit: str) -> nn.Module:
    torch.manual_seed(0)
    return write_out(SHAPED[habit]().eval(), SHAPE)


def halve(network: nn.Module) -> nn.Module:
    widths = channel_layout(trace(network, SHAPE)).widths
    kept = {unit: range(0, width, 2) for unit, width in widths.items()}
    return remove_channels(network, kept, SHAPE)


@pytest.mark.parametrize("habit", ATTENTION)
def test_a_pruned_network_runs_at_another_size_and_can_be_pruned_again(habit: str) -> None:
    network = written(habit)
    smaller = halve(network)
    again = halve(smaller)
    other = torch.rand(2, 3, 28, SHAPE[3])
    assert again(other).shape == smaller(other).shape == other.shape
    assert peak_memory(again, SHAPE) <= peak_memory(smaller, SHAPE) < peak_memory(network, SHAPE)


def test_a_single_channel_is_not_taken_for_the_batch_of_one_image() -> None:
    class GatesByAMap(Around):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Conv2d(self.width, 1, 1)

        def middle(self, x: Tensor) -> Tensor:
            b, c, h, w = x.shape
            gate = self.gate(x).view(b, 1, h * w)
            return (x.view(b, c, h * w) * gate).view(b, c, h, w)

    smaller = halve(trace_at_shape(GatesByAMap().eval(), (SHAPE,)))
    assert smaller(torch.rand(2, *SHAPE[1:])).shape == (2, *SHAPE[1:])


@pytest.mark.parametrize(
    ("habit", "kept", "entries"),
    [
        pytest.param("Transposed", [1, 3], [1, 3, 5, 7], id="channels of each head"),
        pytest.param("CountsHeads", [1, 3], [1, 3], id="channels of a single head"),
        pytest.param("Windows", [1], [4, 5, 6, 7], id="whole heads, whose maps are large"),
    ],
)
def test_queries_keys_and_values_lose_the_same_channels(
    habit: str, kept: list[int], entries: list[int]
) -> None:
    network = written(habit)
    widths = channel_layout(trace(network, SHAPE)).widths
    assert widths == {"head": WIDTH, "qkv": WIDTH * len(kept) // len(entries)}
    smaller = remove_channels(network, {"qkv": kept}, SHAPE)
    rows = [part * WIDTH + entry for part in range(3) for entry in entries]
    assert torch.equal(smaller.qkv.weight, network.qkv.weight[rows])
    assert torch.equal(smaller.project.weight, network.project.weight[:, entries])


def test_a_head_contributes_nothing_where_its_values_are_zero() -> None:
    network = written("Windows")
    rows = slice(2 * WIDTH, 2 * WIDTH + WIDTH // 2)
    x = torch.rand(SHAPE)
    with torch.no_grad():
        network.qkv.weight[rows] = 0
        network.qkv.bias[rows] = 0
        smaller = remove_channels(network, {"qkv": [1]}, SHAPE)
        assert torch.allclose(smaller(x), network(x), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_split_by_numbers_computes_pruned_what_it_does_masked(seed: int) -> None:
    network = written("SlicesAndSplits")
    layout = channel_layout(trace(network, SHAPE))
    kept = draw_kept(layout, seed)
    x = torch.rand(SHAPE)
    with torch.no_grad():
        with mask_channels(network, layout, kept):
            expected = network(x)
        assert torch.allclose(remove_channels(network, kept, SHAPE)(x), expected, atol=1e-5)

"""Versions of a network that lack channels compute what masks and copies compute."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from bench.channels.written_form import write_out
from bench.surgery.masks import mask_channels
from bench.surgery.narrowed_runs import NarrowedRuns
from bench.surgery.remove import remove_channels
from tests.networks.generated import generate_network
from tests.networks.public import random_inputs
from tests.networks.shaped import ATTENTION, SHAPE, SHAPED
from tests.networks.small import draw_kept, network_layout


def measure(network: nn.Module, inputs: list[torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([each.flatten() for each in tree_leaves(network(*inputs))])


@pytest.mark.parametrize("seed", range(60))
def test_a_random_network_runs_as_the_masked_one_or_the_copy(seed: int) -> None:
    network = generate_network(seed).eval()
    layout, inputs = network_layout(network, network.shape), random_inputs(network.shape)
    runs = NarrowedRuns(network, layout)
    drawn = draw_kept(layout, seed)
    for kept in [drawn, {}, *({unit: indices} for unit, indices in drawn.items())]:
        with runs.narrow(kept) as narrowed:
            found = measure(narrowed, inputs)
        if layout.cross_channel_ops:
            expected = measure(remove_channels(network, kept, network.shape, layout), inputs)
        else:
            with mask_channels(network, layout, kept):
                expected = measure(network, inputs)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(60))
def test_after_a_removal_they_run_as_the_smaller_network(seed: int) -> None:
    network = generate_network(seed).eval()
    layout, inputs = network_layout(network, network.shape), random_inputs(network.shape)
    runs = NarrowedRuns(network, layout)
    for unit, kept in draw_kept(layout, seed).items():
        with runs.run_whole() as whole:
            measure(whole, inputs)
        smaller = remove_channels(runs.model, {unit: kept}, network.shape, runs.layout)
        runs.replace(smaller, {unit: kept})
        with runs.narrow({}) as narrowed:
            torch.testing.assert_close(measure(narrowed, inputs), measure(smaller, inputs))


@pytest.mark.parametrize("habit", ATTENTION)
def test_attention_with_rewritten_sizes_runs_as_the_smaller_network(habit: str) -> None:
    network = write_out(SHAPED[habit]().eval(), SHAPE)
    layout, inputs = network_layout(network, SHAPE), random_inputs(SHAPE)
    runs = NarrowedRuns(network, layout)
    for unit, width in layout.widths.items():
        kept = {unit: range(1, width)} if width > 1 else {}
        with runs.narrow(kept) as narrowed:
            found = measure(narrowed, inputs)
        smaller = remove_channels(network, kept, SHAPE, layout)
        torch.testing.assert_close(found, measure(smaller, inputs), rtol=1e-5, atol=1e-6)

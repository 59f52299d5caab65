"""The ways to fit keep to the budget, and the front leaves out what another way beats."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.contract import Budget
from bench.errors import Infeasible
from bench.fit.ways import Way, explain_misfit, find_front, list_networks, list_ways
from bench.memory.as_run import as_run_peak_bytes
from bench.memory.profile import peak_memory
from tasks.models.unet import UNet
from tests.fakes import Tiny, tiny_peak_bytes

SHAPE = (1, 3, 32, 32)
WAY = Way(1.0, "whole image", "float32", (32, 32), None, 1, 100, 10)


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ({"macs": 11}, False),
        ({"macs": 11, "peak_bytes": 90}, True),
        ({"ratio": 0.5}, False),
        ({"ratio": 0.5, "macs": 9}, True),
        ({"precision": "bfloat16"}, False),
        ({"halo": 8, "peak_bytes": 99}, True),
        ({"obstacle": "too slow", "macs": 1}, False),
        ({}, True),
    ],
)
def test_a_way_that_is_nowhere_better_and_somewhere_worse_is_not_on_the_front(
    change: dict, stays: bool
) -> None:
    other = replace(WAY, **change)
    assert find_front([WAY, other]) == ([WAY, other] if stays else [WAY])


def test_with_data_quality_is_one_number() -> None:
    best = replace(WAY, psnr_db=30.0)
    pruned = replace(WAY, ratio=0.5, psnr_db=30.004)
    assert find_front([best, replace(pruned, macs=5)]) == [replace(pruned, macs=5)]
    assert find_front([best, pruned]) == [best, pruned]


@pytest.mark.parametrize("executor", ["lean", "pytorch"])
def test_all_ways_that_fit_keep_to_the_budget_by_the_ruler_of_the_executor(executor) -> None:
    network, shape = UNet(width=8, levels=2).eval(), (1, 3, 96, 96)
    budget = Budget(peak_memory(network, shape) * 3 // 5, shape)
    networks, note = list_networks(network, budget, executor)
    ways = list_ways(networks, budget, 4, executor)
    fitting = [way for way in ways if not way.obstacle]
    assert not note
    assert {way.name for way in fitting} == {"whole image", "exact tiles", "tiles, halo 4"}
    assert all(way.peak_bytes <= budget.peak_bytes for way in fitting)
    peak = as_run_peak_bytes if executor == "pytorch" else peak_memory
    assert [way.peak_bytes for way in ways if way.name == "whole image"] == [
        peak(twin.to(dtype), shape)
        for twin in networks.values()
        for dtype in (torch.float32, torch.bfloat16)
    ]


def test_one_pruned_network_is_the_largest_whose_whole_image_fits() -> None:
    budget = Budget(tiny_peak_bytes(5, SHAPE), SHAPE)
    networks, _ = list_networks(Tiny(8).eval(), budget, "lean")
    peaks = [peak_memory(network, SHAPE) for network in networks.values()]
    assert budget.peak_bytes in peaks


def test_a_network_without_channels_to_remove_is_not_pruned_and_the_note_says_why() -> None:
    network = nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 1, 1)).eval()
    networks, note = list_networks(network, Budget(2**10, SHAPE), "lean")
    assert list(networks) == [1.0] and "no channel" in note


def test_a_budget_below_input_and_output_names_them_and_the_least_that_is_needed() -> None:
    budget = Budget(2**10, SHAPE)
    networks, _ = list_networks(Tiny(8).eval(), budget, "lean")
    error = explain_misfit(list_ways(networks, budget, 2, "lean"), budget)
    assert isinstance(error, Infeasible) and "\n" not in str(error)
    assert "nothing fits 0.0 MiB: the least is" in str(error)
    assert "input and output alone take 0.0 MiB as float" in str(error)

"""The unpruned network that comes with the package: worth pruning, and pruned by each method into the shape that the paper reports."""

import random
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import nn

from bench.contract import Budget, Pruned
from bench.memory.groups import peak_group
from bench.memory.profile import peak_memory
from bench.plugins.options import cell_task, configured
from bench.plugins.registry import METHODS
from bench.records import Cell
from bench.study.study import load_study
from bench.surgery.remove import remove_channels
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.pretrained import PACKAGED, find, pretrained
from bench.training.trainer import TaskTrainer
from methods.mosp.trajectory import Measure, Trajectory
from tests.tasks.test_denoising import non_local_means

DEEPEST = ("encoder.4.c51", "encoder.4.c52")


@pytest.fixture(scope="module")
def cell() -> Cell:
    """The first question of Table 1."""
    return load_study("table1").cells()[0]


@pytest.fixture(scope="module")
def network(cell: Cell) -> nn.Module:
    """What comes with the package; it is trained anew, which takes minutes, where it is damaged."""
    return pretrained(cell_task(cell), cell, [PACKAGED])


def test_it_is_whole_and_small(cell: Cell) -> None:
    assert find(cell, [PACKAGED]) is not None
    assert sum(path.stat().st_size for path in PACKAGED.iterdir()) < 8_000_000


def test_it_is_three_db_above_its_input_and_ahead_of_non_local_means(
    cell: Cell, network: nn.Module
) -> None:
    task = cell_task(cell)
    psnr_db = means(evaluate(task, network, "embedded"))["psnr_db"]
    assert psnr_db > means(input_scores(task, "embedded"))["psnr_db"] + 3
    pairs = task.test_sets("embedded")["embedded"]
    assert psnr_db > fmean(
        task.score(non_local_means(pair.degraded), pair.clean)["psnr_db"] for pair in pairs
    )


def test_the_cut_of_mosp_costs_less_loss_than_random_cuts_of_equal_bytes(
    cell: Cell, network: nn.Module
) -> None:
    trainer = TaskTrainer(cell_task(cell), cell.data, cell.recipe, cell.seed)
    budget = Budget(peak_memory(network, cell.measured_at), cell.measured_at)
    path = Trajectory(
        network, budget, (), Measure(trainer, "gradient", 3), budget.peak_bytes // 12, None
    )
    group, channel_bytes = (
        peak_group(path.peaks, path.widths),
        4 * cell.measured_at[2] * cell.measured_at[3],
    )
    path.advance(path.outer_bytes)
    freed_channels = (
        group.bytes - int(path.peaks.step_bytes(path.widths)[group.step])
    ) // channel_bytes
    chance = [
        _random_cut(network, budget, list(group.per_channel), freed_channels, seed)
        for seed in range(5)
    ]
    assert trainer.loss(path.network) < fmean(trainer.loss(cut) for cut in chance)


@pytest.mark.parametrize(
    "name, options",
    [("global_l2", {}), ("autoslim", {"groups": 4, "crops": 1, "epochs": 4})],
    ids=["global_l2", "autoslim"],
)
def test_as_published_they_empty_the_middle_of_the_network(
    cell: Cell, network: nn.Module, name: str, options: dict[str, Any]
) -> None:
    """The paper's Table 1 at 0.25: 2.40K and 0.99K parameters of 7.75M."""
    pruned = _at_a_quarter(cell, network, name, options)
    assert {len(pruned.kept[unit]) for unit in DEEPEST} == {1}
    assert _parameters(pruned.model) < 0.01 * _parameters(network)


def test_mosp_keeps_most_weights_of_the_deepest_level(cell: Cell, network: nn.Module) -> None:
    """The paper's Table 1 at 0.25: 7.27M parameters of 7.75M, where uniform scale has 0.48M."""
    pruned = _at_a_quarter(cell, network, "mosp", {})
    assert all(len(pruned.kept.get(unit, range(256))) > 128 for unit in DEEPEST)
    assert _parameters(pruned.model) > 0.5 * _parameters(network)


def _at_a_quarter(cell: Cell, network: nn.Module, name: str, options: dict[str, Any]) -> Pruned:
    """The cut of a method, with hardly any training."""
    recipe = replace(cell.recipe, steps_per_epoch=1, calibration_crops=2, adapt_steps=4)
    budget = Budget(peak_memory(network, cell.measured_at) // 4, cell.measured_at)
    method = configured(METHODS.get(name), options, name)
    return method.prune(network, budget, TaskTrainer(cell_task(cell), cell.data, recipe, cell.seed))


def _parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _random_cut(
    network: nn.Module, budget: Budget, units: list[str], count: int, seed: int
) -> nn.Module:
    """The network without `count` full-resolution channels, drawn over all of these units."""
    gone = random.Random(seed).sample(
        [(unit, channel) for unit in units for channel in range(16)], count
    )
    kept = {
        unit: [channel for channel in range(16) if (unit, channel) not in gone] for unit in units
    }
    with torch.no_grad():
        return remove_channels(network, kept, budget.input_shape)

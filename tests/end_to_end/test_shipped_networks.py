"""The packaged unpruned network is worth pruning, and methods give it the shapes of the paper."""

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
from bench.plugins.options import build_task, configure
from bench.plugins.registry import METHODS
from bench.records import Cell
from bench.study.study import load_study
from bench.surgery.remove import remove_channels
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.pretrained import (
    PACKAGED_NETWORKS,
    find_weights,
    has_pretraining,
    load_or_train,
)
from bench.training.trainer import TaskTrainer
from methods.mosp.trajectory import GroupTrajectory
from tests.tasks.test_denoising import non_local_means

DEEPEST = ("encoder.2.c31", "encoder.2.c32")
WIDTH = 24


@pytest.fixture(scope="module")
def cell() -> Cell:
    """The first cell of Table 1."""
    return load_study("table1").cells()[0]


@pytest.fixture(scope="module")
def network(cell: Cell) -> nn.Module:
    """The packaged network; it is trained anew, which takes minutes, if its file is damaged."""
    return load_or_train(build_task(cell), cell, [PACKAGED_NETWORKS])


def test_it_is_whole_and_small(cell: Cell) -> None:
    assert find_weights(cell, [PACKAGED_NETWORKS]) is not None
    assert sum(path.stat().st_size for path in PACKAGED_NETWORKS.iterdir()) < 20_000_000


def test_the_networks_of_uniform_from_scratch_are_trained_already() -> None:
    cells = [cell for cell in load_study("table1").cells() if cell.label == "uniform, scratch"]
    assert len(cells) == 3
    assert all(has_pretraining(cell, [PACKAGED_NETWORKS]) for cell in cells)


def test_it_is_three_db_above_its_input_and_ahead_of_non_local_means(
    cell: Cell, network: nn.Module
) -> None:
    task = build_task(cell)
    scores = evaluate(task, network, "embedded")
    input_psnr_db = means(input_scores(task, "embedded"))["psnr_db"]
    assert means(scores)["psnr_db"] > input_psnr_db + 3
    for pair in task.test_sets("embedded")["embedded"][-3:]:
        by_means = task.score(non_local_means(pair.degraded), pair.clean)
        assert scores["embedded"][pair.name]["psnr_db"] > by_means["psnr_db"]


def test_the_cut_of_mosp_costs_less_loss_than_random_cuts_of_equal_bytes(
    cell: Cell, network: nn.Module
) -> None:
    trainer = TaskTrainer(build_task(cell), cell.data, cell.recipe, cell.seed)
    budget = Budget(peak_memory(network, cell.measured_at), cell.measured_at)
    trajectory = GroupTrajectory(network, budget, trainer, budget.peak_bytes // 12)
    group = peak_group(trajectory.peak_model, trajectory.widths)
    channel_bytes = 4 * cell.measured_at[2] * cell.measured_at[3]
    trajectory.advance(trajectory.outer_bytes)
    step_bytes = int(trajectory.peak_model.step_bytes(trajectory.widths)[group.step])
    freed_channels = (group.bytes - step_bytes) // channel_bytes
    random_cuts = [
        _random_cut(network, budget, list(group.per_channel), freed_channels, seed)
        for seed in range(5)
    ]
    random_loss = fmean(trainer.loss(cut) for cut in random_cuts)
    assert trainer.loss(trajectory.network) < random_loss


def test_autoslim_as_published_empties_the_middle_of_the_network(
    cell: Cell, network: nn.Module
) -> None:
    """The paper's Table 1 at 0.25: 0.99K parameters of 7.75M."""
    pruned = _prune(cell, network, 0.25, "autoslim", {"groups": 4, "crops": 1, "epochs": 4})
    assert {len(pruned.kept[unit]) for unit in DEEPEST} == {1}
    assert _count_parameters(pruned.model) < 0.01 * _count_parameters(network)


def test_raw_norms_empty_whole_layers_and_normalised_ones_none(
    cell: Cell, network: nn.Module
) -> None:
    """The paper's Table 1 at 0.25 has 2.40K parameters of 7.75M left by raw norms."""
    least = [
        min(map(len, _prune(cell, network, 0.25, "global_l2", options).kept.values()))
        for options in ({"importance": "l2"}, {})
    ]
    assert least[0] == 1 < 4 < least[1]


def test_at_half_of_the_peak_mosp_keeps_most_weights(cell: Cell, network: nn.Module) -> None:
    """The paper's Table 1 at 0.5: 7.76M parameters of 7.75M, where uniform scale has 1.94M."""
    pruned = _prune(cell, network, 0.5, "mosp", {})
    assert _count_parameters(pruned.model) > 0.5 * _count_parameters(network)


def _prune(
    cell: Cell, network: nn.Module, ratio: float, name: str, options: dict[str, Any]
) -> Pruned:
    """Prune to a share of the peak memory, with hardly any training."""
    recipe = replace(cell.recipe, steps_per_epoch=1, calibration_crops=2, adapt_steps=4)
    peak_bytes = int(ratio * peak_memory(network, cell.measured_at))
    budget = Budget(peak_bytes, cell.measured_at)
    method = configure(METHODS.get(name), options, name)
    trainer = TaskTrainer(build_task(cell), cell.data, recipe, cell.seed)
    return method.prune(network, budget, trainer)


def _count_parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _random_cut(
    network: nn.Module, budget: Budget, units: list[str], count: int, seed: int
) -> nn.Module:
    """Remove `count` full-resolution channels, drawn at random over all of these units."""
    channels = [(unit, channel) for unit in units for channel in range(WIDTH)]
    removed = random.Random(seed).sample(channels, count)
    kept = {
        unit: [channel for channel in range(WIDTH) if (unit, channel) not in removed]
        for unit in units
    }
    with torch.no_grad():
        return remove_channels(network, kept, budget.input_shape)

"""mosp_joint: its program against a search of all cuts, and the corrections by measured losses."""

import random
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from torch import nn

from bench.contract import Budget, NoTrainer
from bench.errors import Infeasible, PluginError
from bench.memory.peak_model import PeakModel
from bench.memory.profile import peak_memory
from bench.surgery.analysis import analyse_network
from bench.surgery.trajectory import Trajectory
from bench.training.trainer import TaskTrainer
from methods.mosp_joint import MOSPJoint, StrideProgram
from tests.fakes import FakeTask
from tests.methods.mosp.test_mosp import RECIPE
from tests.networks.small import SHAPE, unet


class NoTraining(NoTrainer):
    def fit(self, *_, **__) -> int:
        return 0


WIDTHS = {"a": 4, "b": 3, "c": 2}


@dataclass
class Start:
    """What a program reads of a trajectory: three units, each pair of them alive at one step."""

    widths = WIDTHS
    min_widths = dict.fromkeys(WIDTHS, 1)
    peak_model = PeakModel(
        WIDTHS,
        ("ab", "bc", "ac"),
        np.array([0, 2, 4]),
        np.array([0, 1, 1, 2, 0, 2]),
        np.array([4, 4, 4, 8, 2, 8]),
    )


def make_program(seed: int) -> tuple[StrideProgram, dict[str, np.ndarray]]:
    rng = random.Random(seed)
    scores = {
        unit: np.array([rng.uniform(0.1, 1) for _ in range(width)])
        for unit, width in WIDTHS.items()
    }
    return StrideProgram(Start(), scores), scores  # type: ignore[arg-type]


def test_the_least_peak_can_be_asked_for() -> None:
    first = nn.Conv2d(3, 5, 3, padding=1)
    middle, last = nn.Conv2d(5, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
    network = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last).eval()
    shape = (1, 3, 48, 48)
    least = analyse_network(network, Budget(10**9, shape)).peak_model.least_bytes()
    method = MOSPJoint(importance="l2", outer_stride="1")
    pruned = method.prune(network, Budget(least, shape), NoTraining())
    assert peak_memory(pruned.model, shape) == least


@pytest.mark.parametrize("target_bytes", [1, 4, 8, 12])
@pytest.mark.parametrize("seed", range(5))
def test_the_cut_is_the_cheapest_that_brings_every_step_to_the_target(
    seed: int, target_bytes: int
) -> None:
    program, scores = make_program(seed)
    limit = Start.peak_model.peak_bytes(WIDTHS) - target_bytes
    costs = {
        cut: sum(
            np.sort(scores[unit])[:count].sum() for unit, count in zip(WIDTHS, cut, strict=True)
        )
        for cut in product(range(3), range(2), range(2))  # at most half of each unit
        if Start.peak_model.peak_bytes(
            {unit: WIDTHS[unit] - count for unit, count in zip(WIDTHS, cut, strict=True)}
        )
        <= limit
    }
    found, _ = program.solve(target_bytes)
    assert costs[tuple(found.get(unit, 0) for unit in WIDTHS)] == pytest.approx(
        min(costs.values()), rel=2e-3
    )


def test_a_unit_that_costs_more_than_predicted_is_spared() -> None:
    program, scores = make_program(0)
    before, _ = program.solve(4)
    for unit, count in before.items():
        program.correct(unit, count, 100 * float(np.sort(scores[unit])[:count].sum()))
    for unit in WIDTHS.keys() - before.keys():
        program.correct(unit, 1, float(scores[unit].min()))
    after, _ = program.solve(4)
    assert after != before


def test_what_cannot_be_freed_and_a_loss_that_is_not_finite_are_refused() -> None:
    program, _ = make_program(0)
    with pytest.raises(Infeasible, match="frees too little"):
        program.solve(100)
    with pytest.raises(PluginError, match="mosp_joint: the loss without 2 channels of 'a' is nan"):
        program.correct("a", 2, float("nan"))


def test_a_stride_frees_its_bytes_at_every_step_and_names_the_dearest() -> None:
    network = unet(8)
    budget = Budget(1, SHAPE)
    trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed=0)
    trajectory: Trajectory = MOSPJoint().build_trajectory(network, budget, trainer)
    before = trajectory.peak_bytes
    trajectory.advance(trajectory.outer_bytes)
    assert trajectory.peak_bytes <= before - trajectory.outer_bytes
    assert peak_memory(trajectory.network, SHAPE) == trajectory.peak_bytes
    assert " % of the price; " in trajectory.trace[-1].note

"""The schedule, and its effect on the channels that will be removed (checks (b) and (d))."""

from statistics import fmean

import pytest
import torch
from torch import nn

from bench.surgery.importance import select_most_important
from bench.training.trainer import TaskTrainer
from methods.assl.phases import Regulariser, Schedule
from methods.assl.reparametrisation import Scales
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import build_with_seed
from tests.networks.small import Residual, network_layout, unet


@pytest.mark.parametrize(("steps", "interval"), [(100, 1), (100, 20), (7, 1), (400, 3)])
def test_alpha_grows_by_equal_rises_to_its_most_and_stays_there(steps: int, interval: int) -> None:
    schedule = Schedule(steps, interval, 0.5)
    alpha = 0.0
    found = []
    for step in range(steps):  # as the paper does it: a counter that rises each interval
        if step and step % interval == 0:
            alpha = min(0.5, alpha + 0.5 * interval / schedule.growth_steps)
        found.append(alpha)
    assert [schedule.alpha(step) for step in range(steps)] == pytest.approx(found)
    assert (found[0], max(found)) == (0.0, 0.5)


def test_alignment_takes_a_tenth_and_growth_65_percent_of_the_steps() -> None:
    schedule = Schedule(320, 1, 1.0)
    assert (schedule.alignment_steps, schedule.growth_steps) == (32, 208)


def _residual_scales() -> tuple[nn.Module, Scales]:
    network = build_with_seed(Residual)
    return network, Scales(network, network_layout(network), torch.device("cpu"))


def _train(
    regulariser: Regulariser, seen: list[tuple[torch.Tensor, torch.Tensor]] | None = None
) -> Regulariser:
    """Train through all phases.

    If given, `seen` gets (alpha, squared entries summed by slot) before each step.
    """
    trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed=0)

    def after_step(index: int, rate: float) -> None:
        if seen is not None:
            alpha = regulariser.coefficients().requires_grad_()
            (squares,) = torch.autograd.grad(regulariser.scales.penalty(alpha), alpha)
            seen.append((alpha.detach(), 2 * squares))
        regulariser.after_step(index, rate)

    trainer.fit(
        regulariser.scales.network,
        regulariser.schedule.steps,
        phase="search",
        penalty=regulariser.penalty,
        after_step=after_step,
    )
    return regulariser


def test_free_units_grow_at_once_and_tied_ones_after_alignment_for_as_long() -> None:
    _, scales = _residual_scales()
    regulariser = Regulariser(scales, {"head": 3, "first.0": 4}, Schedule(40, 1, 30.0), 1.0)
    seen = []
    _train(regulariser, seen)
    free, tied = (
        [float(alpha[scales.layout.slots(unit)].max()) for alpha, _ in seen]
        for unit in ("first.0", "head")
    )
    assert free == pytest.approx([regulariser.schedule.alpha(step) for step in range(40)])
    assert tied == pytest.approx([0.0] * 4 + free[:-4])
    assert free[1] > 0


def test_channels_that_stay_are_never_penalised() -> None:
    _, scales = _residual_scales()
    regulariser = Regulariser(scales, {"head": 3, "first.0": 4}, Schedule(40, 1, 30.0), 1.0)
    seen = []
    _train(regulariser, seen)
    stays = torch.from_numpy(scales.layout.slot_mask(regulariser.kept))
    assert all(not alpha[stays].any() for alpha, _ in seen)
    assert seen[-1][0][~stays].tolist() == [30.0] * 7  # 3 of 6 and 4 of 8


# Through Adam the penalty has no time for more.
@pytest.mark.parametrize(("decoupled", "least", "most"), [(True, 0.0, 0.01), (False, 0.5, 1.0)])
def test_penalised_channels_fall_throughout_stabilisation_and_the_others_do_not(
    decoupled: bool, least: float, most: float
) -> None:
    network = unet(4)
    scales = Scales(network, network_layout(network), torch.device("cpu"))
    widths = {unit: full // 2 for unit, full in scales.layout.widths.items()}
    regulariser = Regulariser(scales, widths, Schedule(120, 1, 100.0), 1.0, decoupled=decoupled)
    seen = []
    _train(regulariser, seen)
    stays = torch.from_numpy(scales.layout.slot_mask(regulariser.kept))
    penalised = [float(squares[~stays].sum()) for _, squares in seen]
    quarters = [fmean(penalised[start : start + 10]) for start in range(80, 120, 10)]
    assert quarters == sorted(quarters, reverse=True)
    assert least < regulariser.gamma_ratio() < most
    assert float(seen[-1][1][stays][:-1].sum()) > 0.8 * float(seen[0][1][stays][:-1].sum())


def test_all_layers_of_a_tied_unit_lose_the_weakest_channels_of_the_first() -> None:
    _, scales = _residual_scales()
    regulariser = Regulariser(scales, {"head": 3}, Schedule(40, 1, 100.0), 100.0)
    layers = scales.layout.units["head"].layers
    strengths = {}

    def after_step(index: int, rate: float) -> None:
        if index + 1 == regulariser.schedule.alignment_steps:
            for layer in layers:
                strengths[layer] = scales.strengths("head", layer).detach()
            assert regulariser.kept == {}
        regulariser.after_step(index, rate)

    trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed=0)
    trainer.fit(
        scales.network, 40, phase="search", penalty=regulariser.penalty, after_step=after_step
    )
    assert regulariser.kept["head"] == select_most_important(strengths["head"], 3)
    for layer in layers:
        found = scales.strengths("head", layer).detach()
        assert select_most_important(found, 3) == regulariser.kept["head"]
        assert found.sort().values[2] < 0.5 * strengths[layer].min()

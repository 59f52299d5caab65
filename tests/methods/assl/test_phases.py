"""The schedule, and what it does to the channels that are to be lost (checks (b) and (d))."""

from statistics import fmean

import pytest
import torch
from torch import nn

from bench.surgery.importance import most_important
from bench.training.trainer import TaskTrainer
from methods.assl.phases import Pressure, Schedule
from methods.assl.reparametrisation import Scales
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import seeded
from tests.networks.small import Residual, layout_of, unet


@pytest.mark.parametrize(("steps", "interval"), [(100, 1), (100, 20), (7, 1), (400, 3)])
def test_alpha_grows_by_equal_rises_to_its_most_and_stays_there(steps: int, interval: int) -> None:
    schedule, alpha, found = Schedule(steps, interval, 0.5), 0.0, []
    for step in range(steps):  # as the paper does it: a counter that rises each interval
        if step and step % interval == 0:
            alpha = min(0.5, alpha + 0.5 * interval / schedule.growth)
        found.append(alpha)
    assert [schedule.alpha(step) for step in range(steps)] == pytest.approx(found)
    assert (found[0], max(found)) == (0.0, 0.5)


def test_the_phases_take_a_tenth_then_65_percent_then_a_quarter() -> None:
    schedule = Schedule(320, 1, 1.0)
    assert (
        schedule.alignment,
        schedule.growth,
        schedule.steps - schedule.alignment - schedule.growth,
    ) == (32, 208, 80)


def _residual() -> tuple[nn.Module, Scales]:
    network = seeded(Residual)
    return network, Scales(network, layout_of(network), torch.device("cpu"))


def _trained(
    pressure: Pressure, seen: list[tuple[torch.Tensor, torch.Tensor]] | None = None
) -> Pressure:
    """After all steps; (alpha, squared entries summed by place) before each step is put in `seen`."""
    trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed=0)

    def after_step(index: int, rate: float) -> None:
        if seen is not None:
            alpha = pressure.coefficients().requires_grad_()
            (squares,) = torch.autograd.grad(pressure.scales.penalty(alpha), alpha)
            seen.append((alpha.detach(), 2 * squares))
        pressure.after_step(index, rate)

    trainer.fit(
        pressure.scales.network,
        pressure.schedule.steps,
        phase="search",
        penalty=pressure.penalty,
        after_step=after_step,
    )
    return pressure


def test_free_units_grow_at_once_and_tied_ones_after_alignment_for_as_long() -> None:
    _, scales = _residual()
    pressure, seen = Pressure(scales, {"head": 3, "first.0": 4}, Schedule(40, 1, 30.0), 1.0), []
    _trained(pressure, seen)
    free, tied = (
        [float(alpha[scales.channels.places(unit)].max()) for alpha, _ in seen]
        for unit in ("first.0", "head")
    )
    assert free == pytest.approx([pressure.schedule.alpha(step) for step in range(40)])
    assert tied == pytest.approx([0.0] * 4 + free[:-4])
    assert free[1] > 0


def test_channels_that_stay_are_never_pressed() -> None:
    _, scales = _residual()
    pressure, seen = Pressure(scales, {"head": 3, "first.0": 4}, Schedule(40, 1, 30.0), 1.0), []
    _trained(pressure, seen)
    stays = torch.from_numpy(scales.channels.stays(pressure.kept))
    assert all(not alpha[stays].any() for alpha, _ in seen)
    assert seen[-1][0][~stays].tolist() == [30.0] * 7  # 3 of 6 and 4 of 8


@pytest.mark.parametrize(
    ("decoupled", "least", "most"), [(True, 0.0, 0.01), (False, 0.5, 1.0)]
)  # through Adam there is no time for more
def test_what_is_pressed_falls_throughout_stabilisation_and_what_stays_does_not(
    decoupled: bool, least: float, most: float
) -> None:
    network = unet(4)
    scales = Scales(network, layout_of(network), torch.device("cpu"))
    widths = {unit: full // 2 for unit, full in scales.channels.widths.items()}
    pressure, seen = Pressure(scales, widths, Schedule(120, 1, 100.0), 1.0, decoupled=decoupled), []
    _trained(pressure, seen)
    stays = torch.from_numpy(scales.channels.stays(pressure.kept))
    pressed = [float(squares[~stays].sum()) for _, squares in seen]
    quarters = [fmean(pressed[start : start + 10]) for start in range(80, 120, 10)]
    assert quarters == sorted(quarters, reverse=True)
    assert least < pressure.ratio() < most
    assert float(seen[-1][1][stays][:-1].sum()) > 0.8 * float(seen[0][1][stays][:-1].sum())


def test_a_tied_unit_loses_the_same_channels_in_all_its_layers_those_of_the_first_after_alignment() -> (
    None
):
    _, scales = _residual()
    pressure, strengths = Pressure(scales, {"head": 3}, Schedule(40, 1, 100.0), 100.0), {}

    def note(index: int, rate: float) -> None:
        if index + 1 == pressure.schedule.alignment:
            strengths.update(
                {
                    layer: scales.strengths("head", layer).detach()
                    for layer in scales.channels.units["head"].layers
                }
            )
            assert pressure.kept == {}
        pressure.after_step(index, rate)

    trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed=0)
    trainer.fit(scales.network, 40, phase="search", penalty=pressure.penalty, after_step=note)
    assert pressure.kept["head"] == most_important(strengths["head"], 3)
    for layer in scales.channels.units["head"].layers:
        found = scales.strengths("head", layer).detach()
        assert most_important(found, 3) == pressure.kept["head"]
        assert found.sort().values[2] < 0.5 * strengths[layer].min()

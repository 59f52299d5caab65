"""Agreement and overlap by hand, and that training for agreement gives overlap (check (e))."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.training.trainer import TaskTrainer
from methods.assl.alignment import agreement, jaccard
from methods.assl.phases import Pressure, Schedule
from methods.assl.reparametrisation import GAMMA, Scales
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import seeded
from tests.networks.small import Residual, layout_of


def test_the_agreement_of_two_layers_by_hand() -> None:
    def mask(distance: float) -> float:
        return 1 / (1 + math.exp(-distance))

    one, other = (
        torch.tensor([1.0, 2.0, 4.0]),
        torch.tensor([3.0, 1.0, 2.0]),
    )  # two stay: thresholds 2 and 2
    first, second = [mask(-1), mask(0), mask(2)], [mask(1), mask(-1), mask(0)]
    gram = [
        sum(a * b for a, b in zip(left, right, strict=True))
        for left in (first, second)
        for right in (first, second)
    ]
    assert float(agreement([one, other], 2, centred=False)) == pytest.approx(
        sum(gram) / 4 / 3, rel=1e-6
    )


def test_centred_masks_agree_on_what_two_layers_share_and_disagree_on_opposites() -> None:
    row = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert float(agreement([row, row], 2)) > 0
    assert float(agreement([row, row.flip(0)], 2)) == pytest.approx(0.0, abs=1e-3)
    assert float(agreement([row, row + 5], 2)) == pytest.approx(
        float(agreement([row, row], 2)), rel=1e-5
    )


def test_the_threshold_takes_part_in_the_gradient() -> None:
    one = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    agreement([one], 2, centred=False).backward()
    assert one.grad is not None
    assert one.grad[1] == pytest.approx(-float(one.grad[0] + one.grad[2]), rel=1e-5)


def test_the_overlap_is_the_mean_over_pairs() -> None:
    rows = [
        torch.tensor(row)
        for row in ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [1.0, 4.0, 2.0, 3.0])
    ]
    assert jaccard(rows, 2) == pytest.approx((0 + 1 / 3 + 1 / 3) / 3)
    assert jaccard(rows[:1] * 3, 2) == 1.0


def _disagreeing(width: int = 16) -> nn.Module:
    """A residual network whose tied layers rank their channels at random, close to each other."""
    network = seeded(lambda: Residual(width))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer in (network.head, *network.second):
            weight = layer.weight
            lengths = 1 + 0.1 * torch.rand(width, generator=generator)
            weight *= (lengths / weight.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    return network


def _aligned(weight: float) -> tuple[float, float, float, float]:
    """Agreement and overlap before and after the steps of alignment."""
    network = _disagreeing()
    scales = Scales(network, layout_of(network), torch.device("cpu"))
    pressure = Pressure(scales, {"head": 8}, Schedule(400, 1, 1.0), weight)
    before = float(pressure.agreement().detach()), pressure.overlap()
    trainer = TaskTrainer(FakeTask(), "embedded", replace(RECIPE, finetune_rate=1e-2), seed=0)

    def after_step(index: int, rate: float) -> bool:
        pressure.after_step(index, rate)
        return index + 1 == pressure.schedule.alignment

    trainer.fit(
        scales.network, 400, phase="search", penalty=pressure.penalty, after_step=after_step
    )
    assert pressure.tied == ["head"]
    return *before, float(pressure.agreement().detach()), pressure.overlap()


def test_training_for_agreement_raises_it_and_the_overlap_and_training_without_does_not() -> None:
    soft_before, hard_before, soft_after, hard_after = _aligned(weight=100.0)
    *_, soft_without, hard_without = _aligned(weight=0.0)
    assert soft_after > max(soft_before, soft_without)
    assert hard_after > max(hard_before, hard_without) + 0.3


def test_layers_that_agree_already_lose_what_they_agree_on() -> None:
    network = _disagreeing()
    order: Tensor = torch.linspace(1, 2, 16)
    scales = Scales(network, layout_of(network), torch.device("cpu"))
    with torch.no_grad():
        for layer in scales.channels.units["head"].layers:
            scales.network.get_parameter(f"{layer}.{GAMMA}").copy_(order.view(-1, 1, 1, 1))
    pressure = Pressure(scales, {"head": 8}, Schedule(0, 1, 1.0), 1.0)
    assert (pressure.overlap(), pressure.kept) == (1.0, {"head": list(range(8, 16))})

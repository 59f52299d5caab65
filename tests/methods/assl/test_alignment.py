"""Agreement and overlap by hand, and that training for agreement gives overlap (check (e))."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.training.trainer import TaskTrainer
from methods.assl.alignment import agreement, mean_jaccard
from methods.assl.phases import Regulariser, Schedule
from methods.assl.reparametrisation import GAMMA, Scales
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import build_with_seed
from tests.networks.small import Residual, network_layout


def test_the_agreement_of_two_layers_by_hand() -> None:
    def mask(distance: float) -> float:
        return 1 / (1 + math.exp(-distance))

    # Two channels stay, so both thresholds are 2.
    rows = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 1.0, 2.0])]
    masks = [[mask(-1), mask(0), mask(2)], [mask(1), mask(-1), mask(0)]]
    products = [
        sum(a * b for a, b in zip(left, right, strict=True)) for left in masks for right in masks
    ]
    expected = sum(products) / 4 / 3
    assert float(agreement(rows, 2, centred=False)) == pytest.approx(expected, rel=1e-6)


def test_centred_masks_agree_on_what_two_layers_share_and_disagree_on_opposites() -> None:
    row = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert float(agreement([row, row], 2)) > 0
    assert float(agreement([row, row.flip(0)], 2)) == pytest.approx(0.0, abs=1e-3)
    same = float(agreement([row, row], 2))
    assert float(agreement([row, row + 5], 2)) == pytest.approx(same, rel=1e-5)


def test_the_threshold_takes_part_in_the_gradient() -> None:
    row = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    agreement([row], 2, centred=False).backward()
    assert row.grad is not None
    assert row.grad[1] == pytest.approx(-float(row.grad[0] + row.grad[2]), rel=1e-5)


def test_the_overlap_is_the_mean_over_pairs() -> None:
    rows = [
        torch.tensor(row)
        for row in ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [1.0, 4.0, 2.0, 3.0])
    ]
    assert mean_jaccard(rows, 2) == pytest.approx((0 + 1 / 3 + 1 / 3) / 3)
    assert mean_jaccard(rows[:1] * 3, 2) == 1.0


def _disagreeing_network(width: int = 16) -> nn.Module:
    """A residual network whose tied layers rank their channels at random, close to each other."""
    network = build_with_seed(lambda: Residual(width))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer in (network.head, *network.second):
            weight = layer.weight
            lengths = 1 + 0.1 * torch.rand(width, generator=generator)
            weight *= (lengths / weight.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    return network


def _align(weight: float) -> tuple[float, float, float, float]:
    """Agreement and overlap before and after the alignment phase."""
    network = _disagreeing_network()
    scales = Scales(network, network_layout(network), torch.device("cpu"))
    regulariser = Regulariser(scales, {"head": 8}, Schedule(400, 1, 1.0), weight)
    before = (float(regulariser.agreement().detach()), regulariser.overlap())
    trainer = TaskTrainer(FakeTask(), "embedded", replace(RECIPE, tuning_rate=1e-2), seed=0)

    def after_step(index: int, rate: float) -> bool:
        regulariser.after_step(index, rate)
        return index + 1 == regulariser.schedule.alignment_steps

    trainer.fit(
        scales.network, 400, phase="search", penalty=regulariser.penalty, after_step=after_step
    )
    assert regulariser.tied == ["head"]
    return *before, float(regulariser.agreement().detach()), regulariser.overlap()


def test_training_for_agreement_raises_it_and_the_overlap_and_training_without_does_not() -> None:
    soft_before, hard_before, soft_after, hard_after = _align(weight=100.0)
    *_, soft_without, hard_without = _align(weight=0.0)
    assert soft_after > max(soft_before, soft_without)
    assert hard_after > max(hard_before, hard_without) + 0.3


def test_layers_that_agree_already_lose_what_they_agree_on() -> None:
    network = _disagreeing_network()
    order: Tensor = torch.linspace(1, 2, 16)
    scales = Scales(network, network_layout(network), torch.device("cpu"))
    with torch.no_grad():
        for layer in scales.layout.units["head"].layers:
            scales.network.get_parameter(f"{layer}.{GAMMA}").copy_(order.view(-1, 1, 1, 1))
    regulariser = Regulariser(scales, {"head": 8}, Schedule(0, 1, 1.0), 1.0)
    assert (regulariser.overlap(), regulariser.kept) == (1.0, {"head": list(range(8, 16))})

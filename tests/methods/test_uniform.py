"""Uniform scale: checks (a) to (d) on a U-Net of width 32, and the largest scale that fits."""

import pytest
import torch

from bench.contract import Budget
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.units import MIB
from methods.uniform import Uniform
from tasks.models.unet import UNet
from tests.networks.small import SHAPE, unet

FULL_HD = (1, 3, 1024, 2048)


@pytest.mark.parametrize(
    ("ratio", "peak_mib", "parameters"),
    [(0.25, 192, 485_715), (0.5, 384, 1_940_899), (0.75, 576, 4_365_555)],
)
def test_peaks_and_parameters_are_those_of_the_paper(
    ratio: float, peak_mib: int, parameters: int
) -> None:
    pruned = Uniform().prune(UNet(32), Budget(int(ratio * 768 * MIB), FULL_HD))
    assert peak_memory(pruned.model, FULL_HD) == peak_mib * MIB
    assert sum(weight.numel() for weight in pruned.model.parameters()) == parameters


def test_at_the_full_budget_nothing_changes() -> None:
    network = unet()
    x = torch.rand(SHAPE)
    pruned = Uniform(start="slice").prune(network, Budget(peak_memory(network, SHAPE), SHAPE))
    assert torch.equal(pruned.model(x), network(x))


@pytest.mark.parametrize("share", [0.3, 0.55, 0.8, 0.99])
def test_one_grid_step_more_exceeds_the_budget(share: float) -> None:
    network = unet(8)
    budget = Budget(int(share * peak_memory(network, SHAPE)), SHAPE)
    pruned = Uniform().prune(network, budget)
    width = pruned.model.encoder[0].c11.out_channels
    assert (
        peak_memory(pruned.model, SHAPE) <= budget.peak_bytes < peak_memory(UNet(width + 1), SHAPE)
    )


def test_sliced_keeps_the_channels_with_the_largest_norm() -> None:
    network = unet()
    with torch.no_grad():
        network.encoder[0].c11.weight[2] *= 100
    pruned = Uniform(start="slice").prune(network, Budget(peak_memory(network, SHAPE) // 3, SHAPE))
    assert pruned.kept["encoder.0.c11"] == [2]
    assert (Uniform().prune(network, Budget(10**9, SHAPE)).finish, pruned.finish) == (
        "scratch",
        "finetune",
    )


def test_slicing_by_a_criterion_that_uses_data_asks_for_them_and_scratch_does_not() -> None:
    budget = Budget(peak_memory(unet(), SHAPE) // 2, SHAPE)
    assert Uniform(importance="gradient").prune(unet(), budget).finish == "scratch"
    with pytest.raises(ConfigError, match="needs data"):
        Uniform(start="slice", importance="gradient").prune(unet(), budget)


def test_an_impossible_budget_names_the_least_peak() -> None:
    with pytest.raises(Infeasible, match="the least is"):
        Uniform().prune(unet(), Budget(1000, SHAPE))

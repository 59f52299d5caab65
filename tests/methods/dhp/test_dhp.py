"""DHP: the proximal step against its law, the count of small latents, budgets to the channel."""

from dataclasses import replace

import pytest
import torch

from bench.contract import Budget, Recipe
from bench.errors import Infeasible
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory
from bench.training import TaskTrainer
from methods.dhp import DHP, ProximalStep
from tests.fakes import FakeTask
from tests.networks.public import PUBLIC
from tests.networks.small import SHAPE, Residual, Shuffled, unet

RECIPE = Recipe(patch=32, batch=2, pretrain_steps=20, finetune_steps=4, steps_per_epoch=1, calibration_crops=2, threads=1)


def trainer(**changes: int) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", replace(RECIPE, **changes), seed=0)


def budget_of(network: torch.nn.Module, ratio: float) -> Budget:
    return Budget(int(ratio * peak_memory(network, SHAPE)), SHAPE)


def small(method: DHP, steps: int = 20) -> tuple[int, int]:
    """Latents below the threshold before and after the search, read from the diary."""
    network = Residual()
    words = method.prune(network, budget_of(network, 0.9), trainer(pretrain_steps=steps)).trace[0].note.split()
    return int(words[3]), int(words[words.index("search,") + 1])


def test_the_proximal_step_shortens_by_lambda_times_the_rate_and_never_crosses_zero() -> None:
    latents = torch.tensor([0.5, -0.5, 0.01, -0.01, 0.0, 2.0])
    ProximalStep(latents, torch.tensor([4, 1]), torch.tensor([1, 1]), strength=2.0, threshold=5e-3)(0.05)
    torch.testing.assert_close(latents, torch.tensor([0.4, -0.4, 0.0, 0.0, 0.0, 2.0]))  # the last is not prunable, the fifth alone


def test_a_unit_stops_shrinking_at_its_least_width() -> None:
    latents = torch.tensor([1.0, 1.0, 1e-3, 1.0, 1.0, 1.0])
    step = ProximalStep(latents, torch.tensor([3, 3]), torch.tensor([2, 2]), strength=1.0, threshold=5e-3)
    step(0.5)
    torch.testing.assert_close(latents, torch.tensor([1.0, 1.0, 1e-3, 0.5, 0.5, 0.5]))


def test_small_latents_become_more_with_the_search_and_with_its_strength() -> None:
    counts = [small(DHP(shrinkage=strength, least_width=1))[1] for strength in (0.0, 0.3, 1.0)]
    assert counts[0] < counts[1] < counts[2]
    before, after = small(DHP(least_width=1))
    assert before < after


def test_without_shrinkage_the_proximal_steps_make_no_latent_small() -> None:
    before, after = small(DHP(shrinkage=0.0, least_width=1), steps=1)
    assert before == after


@pytest.mark.parametrize("make", [unet, Residual, PUBLIC["dncnn"], Shuffled], ids=["u-net", "residual", "dncnn", "shuffled"])
def test_one_more_channel_breaks_the_budget(make) -> None:
    network = make().eval()
    method, peaks, budget = DHP(least_width=1), peak_model(network, SHAPE), budget_of(network, 0.7)
    prepared = method.prepare(network, budget, trainer())
    kept = method.cut(prepared, budget, trainer()).kept
    widths = {unit: len(kept.get(unit, range(full))) for unit, full in peaks.widths.items()}
    gone = {unit: max(prepared.scores[unit][[one for one in range(peaks.widths[unit]) if one not in kept[unit]]]) for unit in kept}
    assert peaks.peak_bytes(widths) <= budget.peak_bytes
    last = max(gone, key=lambda unit: (float(gone[unit]), list(peaks.widths).index(unit)))  # ties go by unit
    assert peaks.peak_bytes(widths | {last: widths[last] + 1}) > budget.peak_bytes


def test_every_unit_keeps_its_least_width_and_a_budget_below_that_is_infeasible() -> None:
    network = unet(8)
    kept = DHP(least_width=4).prune(network, budget_of(network, 0.6), trainer()).kept
    assert min(len(indices) for indices in kept.values()) >= 4
    with pytest.raises(Infeasible, match="the least is"):
        DHP(least_width=4).prune(network, budget_of(network, 0.3), trainer())


@pytest.mark.parametrize("start", ["scratch", "pretrained"])
def test_every_step_costs_one_forward_pass_and_is_booked_where_it_belongs(start) -> None:
    network, listening = unet(4), trainer()
    with listening.counted(network):
        DHP(start=start, least_width=1).prepare(network, budget_of(network, 0.7), listening)
    assert dict(listening.meter.steps) == ({"pretrain": 20} if start == "scratch" else {"search": 2})
    assert listening.meter.forward_passes == sum(listening.meter.steps.values())

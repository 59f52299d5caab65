"""Random search: checks (a) to (e).

The best of many is worth more than one, and a killed run ends with the same result.
"""

import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import optuna
import pytest
import torch
from torch import nn

from bench.contract import NO_TRAINER, Budget, Pruned, Recipe
from bench.errors import ConfigError, Infeasible
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory
from bench.runner.referee import referee
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.training.checkpoints import Checkpoints
from bench.training.observer import BACKWARD_PASSES
from bench.training.trainer import TaskTrainer
from methods.random_search import RandomSearch, fit_widths
from tests.fakes import RECIPE, AnyScale, FakeTask
from tests.networks.public import PUBLIC
from tests.networks.small import SHAPE, Residual, network_layout, unet

SAMPLERS = ("random", "tpe", "nsga2")
CROPS = replace(RECIPE, patch=16, batch=4, calibration_crops=8)


class CountingTrainer(TaskTrainer):
    """Counts evaluations, and is interrupted at one of them."""

    def __init__(
        self, folder: Path | None = None, interrupt_at: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(AnyScale(), "embedded", CROPS, seed, checkpoints=Checkpoints(folder))
        self.losses: list[float] = []
        self.interrupt_at = interrupt_at

    def loss(self, model: nn.Module) -> float:
        if len(self.losses) == self.interrupt_at:
            raise KeyboardInterrupt
        self.losses.append(super().loss(model))
        return self.losses[-1]


def residual(width: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return Residual(width).eval()


@cache
def train_network(name: str = "residual") -> nn.Module:
    """A network after a short training; a test that changes it breaks other tests."""
    network = {"residual": residual, "u-net": unet}[name](8 if name == "residual" else 4)
    recipe = replace(CROPS, pretrain_rate=5e-3)
    TaskTrainer(FakeTask(), "embedded", recipe, seed=0).fit(network, 100, phase="pretrain")
    return network.eval()


def budget_at(share: float, network: nn.Module) -> Budget:
    """A budget at a share of the way from the least possible peak to the unpruned one."""
    peaks = peak_model(network, SHAPE)
    least = peaks.least_bytes()
    return Budget(least + int(share * (peaks.peak_bytes({}) - least)), SHAPE)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[optuna.Study]:
    """The searches of a test, in order."""
    studies: list[optuna.Study] = []
    search = RandomSearch._search

    def record(self: RandomSearch, *args: Any) -> optuna.Study:
        studies.append(search(self, *args))
        return studies[-1]

    monkeypatch.setattr(RandomSearch, "_search", record)
    return studies


def is_same(pruned: Pruned, other: Pruned) -> bool:
    left = pruned.model.state_dict()
    right = other.model.state_dict()
    return (
        pruned.kept == other.kept
        and left.keys() == right.keys()
        and all(torch.equal(left[key], right[key]) for key in left)
    )


def widths_at_scale(
    scale: float, ratios: dict[str, float], analysis: NetworkAnalysis
) -> dict[str, int]:
    """The formula of the method's header, with a floor of one channel."""
    return {
        unit: min(full, max(1, int(scale * ratios[unit] * full + 0.5)))
        for unit, full in analysis.widths.items()
    }


@pytest.mark.parametrize("name", ["u-net", "residual", "edsr x2", "dncnn"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_every_draw_fits_and_the_next_width_that_changes_breaks_the_budget(
    name: str, share: float
) -> None:
    network = {"u-net": unet, "residual": residual}.get(name, PUBLIC.get(name))()
    budget = budget_at(share, network)
    analysis = analyse_network(network, budget)
    draws = torch.Generator().manual_seed(0)
    for _ in range(10):
        ratios = {
            unit: 0.1 + 0.9 * float(torch.rand((), generator=draws)) for unit in analysis.widths
        }
        low, high = 0.0, 10.0
        for _ in range(60):  # an independent way: bisect the scale itself
            middle = (low + high) / 2
            peak = analysis.peak_model.peak_bytes(widths_at_scale(middle, ratios, analysis))
            fits = peak <= budget.peak_bytes
            low, high = (middle, high) if fits else (low, middle)
        widths = fit_widths(ratios, analysis, budget, 1)
        assert widths == widths_at_scale(low, ratios, analysis)
        more = {
            unit: width - widths[unit]
            for unit, width in widths_at_scale(high, ratios, analysis).items()
            if width != widths[unit]
        }
        assert list(more.values()) == [1]  # the quantum: one channel of one unit
        assert (
            analysis.peak_model.peak_bytes(widths)
            <= budget.peak_bytes
            < analysis.peak_model.peak_bytes(widths_at_scale(high, ratios, analysis))
        )


def test_the_peak_never_falls_as_the_scale_rises_and_no_width_is_below_the_floor() -> None:
    network = unet()
    analysis = analyse_network(network, budget_at(0.5, network))
    ratios = {
        unit: 0.1 + 0.9 * index / len(analysis.widths) for index, unit in enumerate(analysis.widths)
    }
    peaks = [
        analysis.peak_model.peak_bytes(widths_at_scale(step / 100, ratios, analysis))
        for step in range(1000)
    ]
    assert peaks == sorted(peaks)
    assert peaks[0] < peaks[500] < peaks[-1]
    assert min(fit_widths(ratios, analysis, budget_at(0.7, network), 2).values()) == 2


def test_the_chosen_network_has_the_least_loss_of_all_and_that_loss(
    searches: list[optuna.Study],
) -> None:
    trainer = CountingTrainer()
    network = train_network("u-net")
    pruned = RandomSearch(samples=12).prune(network, budget_at(0.5, network), trainer)
    model = peak_model(network, SHAPE)
    trials = searches[0].trials
    losses = [trial.value for trial in trials]
    assert losses == trainer.losses
    best = trials[losses.index(min(losses))]
    budget = budget_at(0.5, network)
    widths = fit_widths(best.params, analyse_network(network, budget), budget, 1)
    assert widths == network_layout(pruned.model).widths
    assert TaskTrainer(AnyScale(), "embedded", CROPS, 0).loss(pruned.model) == min(losses)
    largest_channel = max(
        max(model.per_channel(step).values(), default=0) for step in range(len(model.steps))
    )
    assert all(-largest_channel < trial.constraints["excess_bytes"] <= 0 for trial in trials)
    spread = f"all {fmean(losses):.4g} +- {pstdev(losses):.4g}"
    assert pruned.trace[-1].note == f"best of 12: loss {min(losses):.4g}; {spread}"


def test_the_best_of_many_is_better_than_their_mean_and_than_the_best_of_few() -> None:
    budget = budget_at(0.6, train_network())
    trainer = CountingTrainer()
    RandomSearch(samples=30).prune(train_network(), budget, trainer)
    assert min(trainer.losses) < fmean(trainer.losses) - pstdev(trainer.losses)


def test_the_same_ratios_serve_all_budgets_and_depends_on_the_seed(
    searches: list[optuna.Study],
) -> None:
    method = RandomSearch(samples=4)
    network = residual()
    budgets = [budget_at(ratio, network) for ratio in (0.8, 0.5)]
    list(method.sweep(network, budgets, CountingTrainer()))
    method.prune(network, budgets[1], CountingTrainer())
    method.prune(network, budgets[1], CountingTrainer(seed=1))
    large, small, alone, other = ([trial.params for trial in search.trials] for search in searches)
    assert large == small == alone
    assert all(ratios not in other for ratios in alone)
    assert all(0.1 <= ratio <= 1 for ratios in alone for ratio in ratios.values())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_killed_run_evaluates_what_is_missing_and_ends_where_it_would_have_ended(
    sampler: Any, tmp_path: Path
) -> None:
    method = RandomSearch(samples=15, sampler=sampler)
    network = residual()
    budgets = [budget_at(ratio, network) for ratio in (0.7, 0.5)]
    whole = CountingTrainer(tmp_path / "whole")
    expected = dict(method.sweep(network, budgets, whole))
    killed_at = len(whole.losses) - 5
    killed = CountingTrainer(tmp_path / "killed", interrupt_at=killed_at)
    with pytest.raises(KeyboardInterrupt):
        list(method.sweep(network, budgets, killed))
    again = CountingTrainer(tmp_path / "killed")
    found = dict(method.sweep(network, budgets, again))
    assert again.losses == whole.losses[killed_at:]
    for budget in budgets:
        assert is_same(found[budget], expected[budget])
        assert found[budget].trace == expected[budget].trace
    assert again.meter.samples == whole.meter.samples
    assert again.meter.forward_passes == whole.meter.forward_passes


def test_the_losses_of_another_network_or_of_other_options_are_not_taken(tmp_path: Path) -> None:
    network = residual()
    other = residual()
    with torch.no_grad():
        other.head.weight[0, 0, 0, 0] += 1
    budget = budget_at(0.5, network)
    for model, method in (
        (network, RandomSearch(4)),
        (other, RandomSearch(4)),
        (network, RandomSearch(4, update=True)),
        (network, RandomSearch(4, importance="l2")),
    ):
        trainer = CountingTrainer(tmp_path)
        method.prune(model, budget, trainer)
        assert len(trainer.losses) == 4
    trainer = CountingTrainer(tmp_path)
    RandomSearch(4).prune(network, budget, trainer)
    assert trainer.losses == []


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_learning_samplers_are_repeatable_and_find_more_than_random_ones(sampler: Any) -> None:
    budget = budget_at(0.6, train_network())
    mean = {}
    for name in ("random", sampler):
        trainers = [CountingTrainer(), CountingTrainer()]
        first, second = (
            RandomSearch(samples=40, sampler=name).prune(train_network(), budget, trainer)
            for trainer in trainers
        )
        assert is_same(first, second)
        assert trainers[0].losses == trainers[1].losses
        assert peak_memory(first.model, SHAPE) <= budget.peak_bytes
        mean[name] = fmean(trainers[0].losses[20:])
    assert mean[sampler] < mean["random"]


def test_least_squares_lower_the_loss_of_every_candidate_and_are_no_training() -> None:
    network = train_network("u-net")
    plain = CountingTrainer()
    updated = CountingTrainer()
    budget = budget_at(0.6, network)
    RandomSearch(samples=8).prune(network, budget, plain)
    with updated.observer.watch():
        pruned = RandomSearch(samples=8, update=True).prune(network, budget, updated)
        unbooked = updated.observer.hand_over(updated.meter.cost(), declared_passes=0)
    assert BACKWARD_PASSES not in unbooked
    assert all(after < before for before, after in zip(plain.losses, updated.losses, strict=True))
    assert CountingTrainer().loss(pruned.model) == min(updated.losses)


@pytest.mark.parametrize("update", [False, True])
@pytest.mark.parametrize("name", ["residual", "edsr x2", "dncnn", "nafnet"])
def test_tied_shuffled_normalised_and_depthwise_networks(name: str, update: bool) -> None:
    network = residual() if name == "residual" else PUBLIC[name]()
    budget = budget_at(0.6, network)
    pruned = RandomSearch(samples=3, update=update).prune(network, budget, CountingTrainer())
    referee(pruned.model, network, budget, "random_search")
    assert not any(layer._forward_pre_hooks for layer in pruned.model.modules())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_nothing_is_printed_and_nothing_is_warned_of(
    sampler: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = unet()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RandomSearch(samples=6, sampler=sampler).prune(
            network, budget_at(0.5, network), CountingTrainer(tmp_path)
        )
    assert capfd.readouterr() == ("", "")


def test_training_from_scratch_is_requested_and_forecast() -> None:
    network = unet()
    recipe = Recipe()
    method = RandomSearch(samples=1, finish="scratch")
    pruned = method.prune(network, budget_at(0.5, network), CountingTrainer())
    assert pruned.finish == "scratch"
    more_steps = method.expected_steps(recipe) - RandomSearch().expected_steps(recipe)
    assert more_steps == recipe.pretrain_steps


def test_impossible_budgets_and_options_are_refused() -> None:
    network = unet()
    least = analyse_network(network, budget_at(1, network)).peak_model.least_bytes()
    pruned = RandomSearch(samples=2).prune(network, Budget(least, SHAPE), CountingTrainer())
    assert peak_memory(pruned.model, SHAPE) == least
    with pytest.raises(Infeasible, match="the least is"):
        RandomSearch(samples=2).prune(network, Budget(least - 1, SHAPE), CountingTrainer())
    with pytest.raises(ConfigError, match="at least 1"):
        RandomSearch(samples=0)
    with pytest.raises(ConfigError, match="needs data"):
        RandomSearch().prune(network, budget_at(0.5, network), NO_TRAINER)

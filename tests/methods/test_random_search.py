"""Random search: checks (a) to (e), that the best of many is worth more than one, and that a killed run ends where it would have ended."""

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
from bench.surgery.analysis import NetworkAnalysis, analyze_network
from bench.training.checkpoints import Checkpoints
from bench.training.trainer import TaskTrainer
from methods.random_search import RandomSearch, fitted
from tests.fakes import RECIPE, AnyScale, FakeTask
from tests.networks.public import PUBLIC
from tests.networks.small import SHAPE, Residual, layout_of, unet

SAMPLERS = ("random", "tpe", "nsga2")
CROPS = replace(RECIPE, patch=16, batch=4, calibration_crops=8)


class Counting(TaskTrainer):
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
def trained(name: str = "residual") -> nn.Module:
    """A network after a short training; whoever changes it breaks other tests."""
    network = {"residual": residual, "u-net": unet}[name](8 if name == "residual" else 4)
    recipe = replace(CROPS, pretrain_rate=5e-3)
    TaskTrainer(FakeTask(), "embedded", recipe, seed=0).fit(network, 100, phase="pretrain")
    return network.eval()


def at(share: float, network: nn.Module) -> Budget:
    """A budget that far from the least possible peak to the unpruned one."""
    peaks = peak_model(network, SHAPE)
    least = peaks.least_bytes()
    return Budget(least + int(share * (peaks.peak_bytes({}) - least)), SHAPE)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[optuna.Study]:
    """What was searched, in order."""
    found, search = list[optuna.Study](), RandomSearch._search
    monkeypatch.setattr(
        RandomSearch,
        "_search",
        lambda self, *asked: found.append(search(self, *asked)) or found[-1],
    )
    return found


def same(one: Pruned, other: Pruned) -> bool:
    left, right = one.model.state_dict(), other.model.state_dict()
    return (
        one.kept == other.kept
        and left.keys() == right.keys()
        and all(torch.equal(left[key], right[key]) for key in left)
    )


def at_scale(scale: float, ratios: dict[str, float], body: NetworkAnalysis) -> dict[str, int]:
    """The law of the header, with a floor of one channel."""
    return {
        unit: min(full, max(1, int(scale * ratios[unit] * full + 0.5)))
        for unit, full in body.widths.items()
    }


@pytest.mark.parametrize("name", ["u-net", "residual", "edsr x2", "dncnn"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_every_draw_fits_and_the_next_width_that_changes_breaks_the_budget(
    name: str, share: float
) -> None:
    network = {"u-net": unet, "residual": residual}.get(name, PUBLIC.get(name))()
    budget = at(share, network)
    body, draws = analyze_network(network, budget), torch.Generator().manual_seed(0)
    for _ in range(10):
        ratios = {unit: 0.1 + 0.9 * float(torch.rand((), generator=draws)) for unit in body.widths}
        low, high = 0.0, 10.0
        for _ in range(60):  # an independent way: bisect the knob itself
            middle = (low + high) / 2
            fits = body.peaks.peak_bytes(at_scale(middle, ratios, body)) <= budget.peak_bytes
            low, high = (middle, high) if fits else (low, middle)
        widths = fitted(ratios, body, budget, 1)
        assert widths == at_scale(low, ratios, body)
        more = {
            unit: width - widths[unit]
            for unit, width in at_scale(high, ratios, body).items()
            if width != widths[unit]
        }
        assert list(more.values()) == [1]  # the quantum: one channel of one unit
        assert (
            body.peaks.peak_bytes(widths)
            <= budget.peak_bytes
            < body.peaks.peak_bytes(at_scale(high, ratios, body))
        )


def test_the_peak_never_falls_as_the_knob_rises_and_no_width_is_below_the_floor() -> None:
    network = unet()
    body = analyze_network(network, at(0.5, network))
    ratios = {unit: 0.1 + 0.9 * index / len(body.widths) for index, unit in enumerate(body.widths)}
    peaks = [body.peaks.peak_bytes(at_scale(step / 100, ratios, body)) for step in range(1000)]
    assert peaks == sorted(peaks)
    assert peaks[0] < peaks[500] < peaks[-1]
    assert min(fitted(ratios, body, at(0.7, network), 2).values()) == 2


def test_the_chosen_network_has_the_least_loss_of_all_and_that_loss(
    searches: list[optuna.Study],
) -> None:
    trainer, network = Counting(), trained("u-net")
    pruned, model = (
        RandomSearch(samples=12).prune(network, at(0.5, network), trainer),
        peak_model(network, SHAPE),
    )
    trials = searches[0].trials
    losses = [trial.value for trial in trials]
    assert losses == trainer.losses
    best = trials[losses.index(min(losses))]
    assert (
        fitted(best.params, analyze_network(network, at(0.5, network)), at(0.5, network), 1)
        == layout_of(pruned.model).widths
    )
    assert TaskTrainer(AnyScale(), "embedded", CROPS, 0).loss(pruned.model) == min(losses)
    dearest = max(
        max(model.per_channel(step).values(), default=0) for step in range(len(model.steps))
    )
    assert all(-dearest < trial.constraints["excess_bytes"] <= 0 for trial in trials)
    assert (
        pruned.trace[-1].note
        == f"best of 12: loss {min(losses):.4g}; all {fmean(losses):.4g} +- {pstdev(losses):.4g}"
    )


def test_the_best_of_many_is_better_than_their_mean_and_than_the_best_of_few() -> None:
    budget, trainer = at(0.6, trained()), Counting()
    RandomSearch(samples=30).prune(trained(), budget, trainer)
    assert min(trainer.losses) < fmean(trainer.losses) - pstdev(trainer.losses)


def test_one_pool_of_ratios_serves_all_budgets_and_depends_on_the_seed(
    searches: list[optuna.Study],
) -> None:
    method, network = RandomSearch(samples=4), residual()
    budgets = [at(ratio, network) for ratio in (0.8, 0.5)]
    list(method.sweep(network, budgets, Counting()))
    method.prune(network, budgets[1], Counting())
    method.prune(network, budgets[1], Counting(seed=1))
    large, small, alone, other = ([trial.params for trial in search.trials] for search in searches)
    assert large == small == alone
    assert all(one not in other for one in alone)
    assert all(0.1 <= ratio <= 1 for ratios in alone for ratio in ratios.values())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_killed_run_evaluates_what_is_missing_and_ends_where_it_would_have_ended(
    sampler: Any, tmp_path: Path
) -> None:
    method, network = RandomSearch(samples=15, sampler=sampler), residual()
    budgets = [at(ratio, network) for ratio in (0.7, 0.5)]
    whole = Counting(tmp_path / "whole")
    expected = dict(method.sweep(network, budgets, whole))
    killed_at = len(whole.losses) - 5
    with pytest.raises(KeyboardInterrupt):
        list(method.sweep(network, budgets, Counting(tmp_path / "killed", interrupt_at=killed_at)))
    again = Counting(tmp_path / "killed")
    found = dict(method.sweep(network, budgets, again))
    assert again.losses == whole.losses[killed_at:]
    assert all(
        same(found[budget], expected[budget]) and found[budget].trace == expected[budget].trace
        for budget in budgets
    )
    assert [again.meter.samples, again.meter.forward_passes] == [
        whole.meter.samples,
        whole.meter.forward_passes,
    ]


def test_the_losses_of_another_network_or_of_other_options_are_not_taken(tmp_path: Path) -> None:
    network, other = residual(), residual()
    with torch.no_grad():
        other.head.weight[0, 0, 0, 0] += 1
    budget = at(0.5, network)
    for one, method in (
        (network, RandomSearch(4)),
        (other, RandomSearch(4)),
        (network, RandomSearch(4, update=True)),
    ):
        trainer = Counting(tmp_path)
        method.prune(one, budget, trainer)
        assert len(trainer.losses) == 4
    trainer = Counting(tmp_path)
    RandomSearch(4).prune(network, budget, trainer)
    assert trainer.losses == []


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_learning_samplers_are_repeatable_and_find_more_than_random_ones(sampler: Any) -> None:
    budget, mean = at(0.6, trained()), {}
    for one in ("random", sampler):
        trainers = [Counting(), Counting()]
        first, second = (
            RandomSearch(samples=40, sampler=one).prune(trained(), budget, trainer)
            for trainer in trainers
        )
        assert same(first, second)
        assert trainers[0].losses == trainers[1].losses
        assert peak_memory(first.model, SHAPE) <= budget.peak_bytes
        mean[one] = fmean(trainers[0].losses[20:])
    assert mean[sampler] < mean["random"]


def test_least_squares_lower_the_loss_of_every_candidate() -> None:
    network, plain, updated = trained("u-net"), Counting(), Counting()
    budget = at(0.6, network)
    RandomSearch(samples=8).prune(network, budget, plain)
    pruned = RandomSearch(samples=8, update=True).prune(network, budget, updated)
    assert all(after < before for before, after in zip(plain.losses, updated.losses, strict=True))
    assert Counting().loss(pruned.model) == min(updated.losses)


@pytest.mark.parametrize("update", [False, True])
@pytest.mark.parametrize("name", ["residual", "edsr x2", "dncnn", "nafnet"])
def test_tied_shuffled_normalised_and_depthwise_networks(name: str, update: bool) -> None:
    network = residual() if name == "residual" else PUBLIC[name]()
    budget = at(0.6, network)
    pruned = RandomSearch(samples=3, update=update).prune(network, budget, Counting())
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
            network, at(0.5, network), Counting(tmp_path)
        )
    assert capfd.readouterr() == ("", "")


def test_from_scratch_is_asked_for_and_forecast() -> None:
    network, recipe = unet(), Recipe()
    assert (
        RandomSearch(samples=1, finish="scratch")
        .prune(network, at(0.5, network), Counting())
        .finish
        == "scratch"
    )
    assert (
        RandomSearch(finish="scratch").expected_steps(recipe)
        - RandomSearch().expected_steps(recipe)
        == recipe.pretrain_steps
    )


def test_impossible_budgets_and_questions_are_refused() -> None:
    network = unet()
    least = analyze_network(network, at(1, network)).peaks.least_bytes()
    assert (
        peak_memory(
            RandomSearch(samples=2).prune(network, Budget(least, SHAPE), Counting()).model, SHAPE
        )
        == least
    )
    with pytest.raises(Infeasible, match="the least is"):
        RandomSearch(samples=2).prune(network, Budget(least - 1, SHAPE), Counting())
    with pytest.raises(ConfigError, match="at least 1"):
        RandomSearch(samples=0)
    with pytest.raises(ConfigError, match="needs data"):
        RandomSearch().prune(network, at(0.5, network), NO_TRAINER)

"""The search, the cut and the convergence: checks (a), (d), (f) and (g), and when a search ends."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.channels.units import STAYS
from bench.contract import NO_TRAINER, Budget, Pruned, Recipe
from bench.errors import ConfigError, Infeasible
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory
from bench.runner.referee import referee
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import score_channels
from bench.training.checkpoints import Checkpoints
from bench.training.trainer import TaskTrainer
from methods import dhp
from methods.dhp import CHECK_INTERVAL, DHP, Search, SearchResult
from methods.dhp.hypernetwork import Hypernetwork
from methods.dhp.latents import Latents
from tests.fakes import RECIPE, AnyScale
from tests.networks.public import PUBLIC, input_shape, random_inputs
from tests.networks.small import SHAPE, Residual, network_layout, unet

SEARCH = replace(RECIPE, pretrain_steps=24, finetune_steps=24)  # 12 are the most for a search
CAP = 12
NETWORKS = {name: PUBLIC[name] for name in ("edsr x2", "srresnet x2", "dncnn")} | {
    "unet": unet,
    "residual": Residual,
}


def _trainer(recipe: Recipe = SEARCH, seed: int = 0) -> TaskTrainer:
    return TaskTrainer(AnyScale(), "embedded", recipe, seed)


def _budget(network: nn.Module, ratio: float, shape: Any = SHAPE) -> Budget:
    return Budget(int(ratio * peak_memory(network, shape)), shape)


def _search(
    method: DHP, network: nn.Module, ratio: float = 0, trainer: TaskTrainer | None = None
) -> SearchResult:
    """A search; with ratio 0, which none reaches, one that lasts to its cap."""
    budget = _budget(network, ratio)
    analysis = analyse_network(network, budget)
    return Search(method, network, analysis, trainer or _trainer()).go_on(budget)


@pytest.fixture
def hypernetworks(monkeypatch: pytest.MonkeyPatch) -> list[Hypernetwork]:
    """The hypernetworks of a test, in order."""
    instances: list[Hypernetwork] = []

    class RecordedHypernetwork(Hypernetwork):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            instances.append(self)

    monkeypatch.setattr(dhp, "Hypernetwork", RecordedHypernetwork)
    return instances


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[SearchResult]:
    """The results of the searches of a test, in order."""
    results: list[SearchResult] = []
    go_on = Search.go_on

    def record(*args: Any) -> SearchResult:
        results.append(go_on(*args))
        return results[-1]

    monkeypatch.setattr(Search, "go_on", record)
    return results


@pytest.fixture
def searched_widths(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """The widths without small latents after each step of the searches of a test."""
    widths: list[dict[str, int]] = []
    shrink = Latents.shrink

    def record(latents: Latents, amount: float) -> None:
        shrink(latents, amount)
        widths.append(latents.masked_widths())

    monkeypatch.setattr(Latents, "shrink", record)
    return widths


def _mask_weights(
    network: nn.Module, weights: dict[str, Tensor], kept: Any, shape: Any
) -> dict[str, Tensor]:
    """Generated weights and free biases times 0 or 1, for each output and each input channel."""
    layout = network_layout(network, shape)
    gone = {
        layout.units[unit].start + channel
        for unit in kept
        for channel in range(layout.widths[unit])
        if channel not in kept[unit]
    }
    masked = dict(weights)
    for layer in layout.makes:
        ends = [
            torch.tensor([float(slot == STAYS or slot not in gone) for slot in end[layer]])
            for end in (layout.makes, layout.reads)
        ]
        weight = weights.get(f"{layer}.weight")
        bias = network.get_submodule(layer).bias
        if weight is None:  # frozen
            continue
        transposed = isinstance(network.get_submodule(layer), nn.ConvTranspose2d)
        rows, columns = reversed(ends) if transposed else ends
        masked[f"{layer}.weight"] = weight * rows.view(-1, 1, 1, 1) * columns.view(1, -1, 1, 1)
        if bias is not None:
            masked[f"{layer}.bias"] = bias * ends[0]
    return masked


@pytest.mark.parametrize("name", NETWORKS)
def test_the_converted_network_computes_what_the_hypernetwork_does_with_masked_generated_weights(
    name: str, hypernetworks: list[Hypernetwork], searches: list[SearchResult]
) -> None:
    network = NETWORKS[name]()
    shape = input_shape(name)
    pruned = DHP(start="pretrained").prune(network, _budget(network, 0.7, shape), _trainer())
    (hypernetwork,), (searched,) = hypernetworks, searches
    for layer in hypernetwork.layers:
        assert all((bias != 0).any() for bias in (layer.b0, layer.b1, layer.b2))
    assert (hypernetwork.latents.abs() < 5e-3).any()
    with torch.no_grad():
        weights = hypernetwork.generate_weights()
        masked = _mask_weights(searched.network, weights, pruned.kept, shape)
        for seed in range(2):
            (x,) = random_inputs(shape, seed)
            expected = functional_call(searched.network, masked, (x,))
            found = pruned.model.eval()(x)
            tolerance = 1e-5 * float(expected.abs().max())
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=tolerance)


def test_the_trunk_of_an_edsr_keeps_one_set_and_the_filters_before_a_shuffle_repeat_theirs(
    hypernetworks: list[Hypernetwork],
) -> None:
    network = PUBLIC["edsr x2"]()
    pruned = DHP(start="pretrained").prune(network, _budget(network, 0.6), _trainer())
    weights = hypernetworks[0].generate_weights()
    kept = pruned.kept
    smaller = pruned.model
    trunk = kept["head"]
    shuffled = kept["up.0"]
    assert 1 <= len(trunk) < 6
    assert 1 <= len(shuffled) < 6
    colours = kept.get("sub_mean", range(3))
    assert torch.equal(smaller.head.weight, weights["head.weight"][trunk][:, colours])
    for index, block in enumerate(smaller.blocks):
        inner = kept.get(f"blocks.{index}.0", range(6))
        assert torch.equal(block[0].weight, weights[f"blocks.{index}.0.weight"][inner][:, trunk])
        assert torch.equal(block[2].weight, weights[f"blocks.{index}.2.weight"][trunk][:, inner])
    assert torch.equal(smaller.body_end.weight, weights["body_end.weight"][trunk][:, trunk])
    filters = [4 * channel + corner for channel in shuffled for corner in range(4)]
    assert torch.equal(smaller.up[0].weight, weights["up.0.weight"][filters][:, trunk])


@pytest.mark.parametrize(
    ("share", "min_width", "least"), [(0.75, 1, 3), (0.3, 1, 1), (0.0, 1, 1), (0.5, 3, 3)]
)
def test_no_unit_goes_below_the_least_share_and_less_than_that_is_refused_before_any_training(
    share: float, min_width: int, least: int
) -> None:
    network = unet(4)
    trainer = _trainer(replace(SEARCH, min_width=min_width))
    least_bytes = peak_model(network, SHAPE).least_bytes(least)
    method = DHP(least_share=share)
    with pytest.raises(Infeasible, match="the least is"):
        method.prune(network, Budget(least_bytes - 1, SHAPE), trainer)
    assert not trainer.meter.steps
    pruned = method.prune(network, Budget(least_bytes, SHAPE), trainer)
    assert peak_memory(pruned.model, SHAPE) == least_bytes
    assert min(network_layout(pruned.model).widths.values()) == least


@pytest.mark.parametrize(("width", "least"), [(32, 4), (16, 2), (6, 1)])
def test_the_least_width_follows_the_width_of_the_network(width: int, least: int) -> None:
    network = unet(width)
    trainer = _trainer()
    with pytest.raises(Infeasible) as refused:
        DHP().prune(network, Budget(1, SHAPE), trainer)
    assert refused.value.least_bytes == peak_model(network, SHAPE).least_bytes(least)


@pytest.mark.parametrize("ratio", [0.9, 0.75, 0.5])
def test_restoring_the_last_removed_channel_breaks_the_budget(
    ratio: float, searches: list[SearchResult]
) -> None:
    network = unet(8)
    budget = _budget(network, ratio)
    model = peak_model(network, SHAPE)
    (step,) = DHP().prune(network, budget, _trainer()).trace
    gone = [
        (float(score), unit)
        for unit, row in searches[0].scores.items()
        for score in row.sort().values[: len(row) - step.widths[unit]]
    ]
    assert model.peak_bytes(step.widths) == step.peak_bytes <= budget.peak_bytes
    last = [unit for score, unit in gone if score == max(gone)[0]]
    assert any(
        model.peak_bytes({**step.widths, unit: step.widths[unit] + 1}) > budget.peak_bytes
        for unit in last
    )


def test_what_stays_is_above_one_threshold_except_at_the_least_width(
    searches: list[SearchResult],
) -> None:
    network = unet(8)
    kept = DHP().prune(network, _budget(network, 0.75), _trainer()).kept
    scores = searches[0].scores
    gone = [
        float(row[channel])
        for unit, row in scores.items()
        for channel in range(len(row))
        if channel not in kept.get(unit, range(len(row)))
    ]
    stays = [
        float(scores[unit][indices].min()) for unit, indices in kept.items() if len(indices) > 1
    ]
    assert len(stays) > 5
    assert max(gone) <= min(stays)


@pytest.mark.parametrize("ratio", [0.6, 0.4])
def test_a_search_stops_as_soon_as_its_peak_is_near_the_budget(
    ratio: float, searched_widths: list[dict[str, int]]
) -> None:
    network = unet(4)
    model = peak_model(network, SHAPE)
    trainer = _trainer(replace(SEARCH, pretrain_steps=120))
    method = DHP(tolerance=0.05)
    searched = _search(method, network, ratio, trainer)
    limit = (ratio + 0.05) * model.peak_bytes(model.widths)
    looks = searched_widths[CHECK_INTERVAL - 1 :: CHECK_INTERVAL]
    is_near = [model.peak_bytes(widths) <= limit for widths in looks]
    assert is_near == [False] * (len(looks) - 1) + [True]
    assert searched.steps == len(searched_widths) == trainer.meter.steps["pretrain"]
    assert len(is_near) > 1
    assert f"stopped after {searched.steps} of at most 60 steps: budget reached" in searched.note


def test_a_search_that_begins_near_the_budget_takes_no_step() -> None:
    network = unet(4)
    trainer = _trainer()
    searched = _search(DHP(start="pretrained"), network, 0.99, trainer)
    assert searched.steps == 0 and not trainer.meter.steps
    assert f"stopped after 0 of at most {CAP} steps: budget reached" in searched.note


def test_a_search_that_does_not_come_near_stops_at_its_cap_and_the_network_still_fits(
    searched_widths: list[dict[str, int]],
) -> None:
    network = unet(4)
    budget = _budget(network, 0.6)
    pruned = DHP(shrinkage=0.0).prune(network, budget, _trainer())
    assert len(searched_widths) == CAP
    assert f"stopped after {CAP} of at most {CAP} steps: cap reached" in pruned.trace[0].note
    assert pruned.trace[0].peak_bytes <= budget.peak_bytes


def test_more_shrinkage_brings_more_latents_to_0_and_none_brings_none() -> None:
    counts = []
    for shrinkage in (0.0, 0.6, 1.2):
        scores = _search(DHP(shrinkage=shrinkage), unet(4)).scores
        counts.append(sum(int((row < 0).sum()) for row in scores.values()))
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    slots = network_layout(unet(4)).size
    # Of normal numbers, 45 in 100 are shorter than 0.6.
    assert counts[1] == pytest.approx(0.45 * slots, rel=0.2)


def test_a_quarter_of_the_peak_is_reached_before_the_cap_and_not_long_before() -> None:
    network = unet(16)
    model = peak_model(network, SHAPE)
    values = torch.randn(sum(model.widths.values()), generator=torch.Generator().manual_seed(0))
    latents = Latents(values, model.widths, min_width=2, threshold=5e-3)
    amount = DHP().shrinkage / 100  # at a constant learning rate, 100 steps to the cap
    steps = 0
    while model.peak_bytes(latents.masked_widths()) > 0.27 * model.peak_bytes(model.widths):
        latents.shrink(amount)
        steps += 1
    assert 60 < steps < 100


def test_what_the_search_leaves_of_pretraining_is_the_convergence_on_a_new_curve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits: list[tuple[str, int]] = []

    def record(name: str) -> None:
        fit = getattr(TaskTrainer, name)

        def call(trainer: TaskTrainer, model: nn.Module, steps: int, **options: Any) -> Any:
            fits.append((options["phase"], steps))
            return fit(trainer, model, steps, **options)

        monkeypatch.setattr(TaskTrainer, name, call)

    record("fit")
    record("fit_in_parts")
    trainer = _trainer()
    network = unet(4)
    sweep = DHP(shrinkage=3.0).sweep(network, [_budget(network, 0.7)], trainer)
    _, pruned = next(iter(sweep))
    assert isinstance(pruned, Pruned)
    searched = int(pruned.trace[0].note.split("after ")[1].split(" ")[0])
    assert searched < CAP
    assert fits == [("pretrain", CAP), ("pretrain", SEARCH.pretrain_steps - searched)]
    assert pruned.finish == "finetune"
    assert trainer.meter.steps == {"pretrain": SEARCH.pretrain_steps}
    assert DHP().expected_steps(SEARCH) == SEARCH.pretrain_steps + SEARCH.tuning_steps


def test_a_sweep_has_one_search_and_what_a_budget_gets_does_not_depend_on_the_others(
    hypernetworks: list[Hypernetwork],
) -> None:
    layers = (nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    network = nn.Sequential(*layers, nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 3, 1))
    budgets = [_budget(network, ratio) for ratio in (0.8, 0.6, 0.4)]

    def sweep(*wanted: Budget) -> dict[Budget, tuple[Any, ...]]:
        trainer = _trainer(replace(SEARCH, pretrain_steps=160))
        return {
            budget: (trainer.meter.steps.copy(), trainer.meter.losses["pretrain"][:], pruned)
            for budget, pruned in DHP().sweep(network, wanted, trainer)
        }

    together = sweep(*budgets)
    assert len(hypernetworks) == 1
    for budget in budgets:
        steps, losses, pruned = sweep(budget)[budget]
        assert together[budget][:2] == (steps, losses) and len(losses) == 160
        assert together[budget][2].trace == pruned.trace
        states = (result.model.state_dict() for result in (together[budget][2], pruned))
        assert all(map(torch.equal, *(state.values() for state in states)))


def test_a_search_is_not_resumed_where_it_paused_for_another_budget(tmp_path: Path) -> None:
    network = unet(4)
    recipe = replace(SEARCH, pretrain_steps=160)
    steps = []
    for ratio in (0.8, 0.4):
        checkpoints = Checkpoints(tmp_path, every_seconds=0)
        trainer = TaskTrainer(AnyScale(), "embedded", recipe, 0, checkpoints=checkpoints)
        steps.append(_search(DHP(), deepcopy(network), ratio, trainer).steps)
    assert steps == [_search(DHP(), network, r, _trainer(recipe)).steps for r in (0.8, 0.4)]
    assert steps[0] < steps[1]


def test_each_pass_of_the_search_is_counted_once() -> None:
    trainer = _trainer()
    network = unet(4)
    _search(DHP(), network, trainer=trainer)
    assert trainer.meter.forward_passes == CAP
    assert not any(layer._forward_hooks for layer in network.modules())


@pytest.mark.parametrize("matched_steps", [0, 30])
def test_from_the_pretrained_network_at_most_half_of_the_later_training_is_search(
    matched_steps: int,
) -> None:
    recipe = replace(SEARCH, matched_steps=matched_steps)
    trainer = _trainer(recipe)
    network = unet(4)
    method = DHP(start="pretrained", shrinkage=0.0)
    assert method.prune(network, _budget(network, 0.6), trainer).finish == "finetune"
    assert trainer.meter.steps == {"search": recipe.tuning_steps // 2}
    assert method.expected_steps(recipe) == (matched_steps or CAP + SEARCH.finetune_steps)


@pytest.mark.parametrize("importance", ["l2", "gradient"])
def test_from_a_pretrained_network_the_latents_start_in_the_order_of_importance(
    importance, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Tensor] = []
    monkeypatch.setattr(Hypernetwork, "reproduce", lambda own, _, latents: started.append(latents))
    network = unet(6)
    scores = score_channels(importance, network, network_layout(network), _trainer())
    _search(DHP(start="pretrained", importance=importance), network)
    latents = started[0].split([len(row) for row in scores.values()])
    for row, own in zip(scores.values(), latents, strict=True):
        assert torch.equal(row.argsort(), own.argsort())


def test_statistics_biases_and_free_weights_are_trained_in_the_network_that_comes_out() -> None:
    network = PUBLIC["srresnet x2"]()
    fresh = PUBLIC["srresnet x2"]()
    _trainer().reinitialise(fresh)
    before = fresh.state_dict()
    after = _search(DHP(), network).network.state_dict()
    batches = "blocks.0.1.num_batches_tracked"
    assert int(after[batches]) == int(before[batches]) + CAP
    unmoved = [name for name, value in after.items() if torch.equal(value, before[name])]
    assert not unmoved
    assert 0 < float(after["head.0.bias"].abs().max()) < 0.1  # it started at 0


def test_search_and_convergence_lower_the_loss(searches: list[SearchResult]) -> None:
    network = Residual()
    trainer = _trainer(replace(SEARCH, pretrain_steps=120))
    pruned = DHP(shrinkage=0.1).prune(network, _budget(network, 0.6), trainer)
    short = _search(DHP(), Residual(), trainer=_trainer(replace(SEARCH, pretrain_steps=2)))
    losses = [trainer.loss(net) for net in (short.network, searches[0].network, pruned.model)]
    assert losses[1] < 0.7 * losses[0], losses
    assert losses[2] < losses[1], losses


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    network = Residual()
    first, same, other = (
        DHP().prune(network, _budget(network, 1.0), _trainer(seed=seed)).model for seed in (0, 0, 1)
    )
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name])
    assert not torch.equal(first.tail.weight, other.tail.weight)


@pytest.mark.parametrize("name", ["nafnet", "hinet", "res-u-net", "ridnet"])
def test_other_networks_fit_their_budget_too(name: str) -> None:
    network = PUBLIC[name]()
    shape = input_shape(name)
    budget = _budget(network, 0.8, shape)
    trainer = _trainer(replace(SEARCH, patch=32, pretrain_steps=4))
    pruned = DHP().prune(network, budget, trainer)
    assert isinstance(pruned, Pruned)
    referee(pruned.model, network, budget, "dhp")


def test_without_data_the_method_says_that_it_needs_some() -> None:
    with pytest.raises(ConfigError, match=r"needs data.*pass trainer="):
        DHP().prune(unet(4), _budget(unet(4), 0.5), NO_TRAINER)


@pytest.mark.parametrize(
    "options",
    [
        {"shrinkage": -0.1},
        {"tolerance": -0.1},
        {"least_share": 1.5},
        {"threshold": 0.0},
        {"pace": 0.0},
        {"embedding": 0},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} = "):
        DHP(**options)

"""The search and the cut: checks (a), (d), (f) and (g), and that latents do shrink."""

from dataclasses import replace
from functools import cache
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
from bench.training.trainer import TaskTrainer
from methods import dhp
from methods.dhp import DHP, SearchResult
from methods.dhp.hypernetwork import Hypernetwork
from methods.dhp.latents import Latents
from tests.fakes import RECIPE, AnyScale
from tests.networks.public import PUBLIC, input_shape, random_inputs
from tests.networks.small import SHAPE, Residual, network_layout, unet

SEARCH = replace(RECIPE, pretrain_steps=12)
NETWORKS = {name: PUBLIC[name] for name in ("edsr x2", "srresnet x2", "dncnn")} | {
    "unet": unet,
    "residual": Residual,
}


def _trainer(recipe: Recipe = SEARCH, seed: int = 0) -> TaskTrainer:
    return TaskTrainer(AnyScale(), "embedded", recipe, seed)


def _budget(network: nn.Module, ratio: float, shape: Any = SHAPE) -> Budget:
    return Budget(int(ratio * peak_memory(network, shape)), shape)


def _search(method: DHP, network: nn.Module, trainer: TaskTrainer | None = None) -> SearchResult:
    return method.prepare(network, _budget(network, 1), trainer or _trainer())


@cache
def _search_unet() -> SearchResult:
    """A search on a U-Net of width 8, for tests that only cut."""
    return _search(DHP(), unet(8))


def _count_zero_latents(searched: SearchResult) -> int:
    return sum(int((scores < 0).sum()) for scores in searched.scores.values())


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
    name: str, hypernetworks: list[Hypernetwork]
) -> None:
    network = NETWORKS[name]()
    shape = input_shape(name)
    trainer = _trainer()
    searched = DHP(least_width=2).prepare(network, _budget(network, 1, shape), trainer)
    pruned = DHP(least_width=2).cut(searched, _budget(network, 0.7, shape), trainer)
    (hypernetwork,) = hypernetworks
    for layer in hypernetwork.layers:
        assert all((bias != 0).any() for bias in (layer.b0, layer.b1, layer.b2))
    assert (hypernetwork.latents.abs() < 5e-3).any()
    with torch.no_grad():
        masked = _mask_weights(
            searched.network, hypernetwork.generate_weights(), pruned.kept, shape
        )
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
    pruned = DHP(least_width=1).prune(network, _budget(network, 0.6), _trainer())
    weights = hypernetworks[0].generate_weights()
    kept = pruned.kept
    smaller = pruned.model
    trunk = kept["head"]
    shuffled = kept["up.0"]
    assert 1 <= len(trunk) < 6
    assert 1 <= len(shuffled) < 6
    assert torch.equal(smaller.head.weight, weights["head.weight"][trunk])
    for index, block in enumerate(smaller.blocks):
        inner = kept.get(f"blocks.{index}.0", range(6))
        assert torch.equal(block[0].weight, weights[f"blocks.{index}.0.weight"][inner][:, trunk])
        assert torch.equal(block[2].weight, weights[f"blocks.{index}.2.weight"][trunk][:, inner])
    assert torch.equal(smaller.body_end.weight, weights["body_end.weight"][trunk][:, trunk])
    filters = [4 * channel + corner for channel in shuffled for corner in range(4)]
    assert torch.equal(smaller.up[0].weight, weights["up.0.weight"][filters][:, trunk])


@pytest.mark.parametrize(("least_width", "min_width"), [(4, 1), (3, 5), (1, 1)])
def test_no_unit_goes_below_the_least_width_and_less_than_that_is_infeasible(
    least_width: int, min_width: int
) -> None:
    network = unet(4)
    expected_min = max(least_width, min_width)
    trainer = _trainer(replace(SEARCH, min_width=min_width))
    least = peak_model(network, SHAPE).least_bytes(expected_min)
    searched = _search(DHP(least_width=least_width), network, trainer)
    pruned = DHP(least_width=least_width).cut(searched, Budget(least, SHAPE), trainer)
    assert peak_memory(pruned.model, SHAPE) == least
    assert min(network_layout(pruned.model).widths.values()) == min(expected_min, 4)
    with pytest.raises(Infeasible, match="the least is"):
        DHP(least_width=least_width).cut(searched, Budget(least - 1, SHAPE), trainer)


@pytest.mark.parametrize("ratio", [0.9, 0.75, 0.5])
def test_restoring_the_last_removed_channel_breaks_the_budget(ratio: float) -> None:
    network = unet(8)
    searched = _search_unet()
    budget = _budget(network, ratio)
    model = peak_model(network, SHAPE)
    (step,) = DHP().cut(searched, budget, _trainer()).trace
    gone = [
        (float(score), unit)
        for unit, row in searched.scores.items()
        for score in row.sort().values[: len(row) - step.widths[unit]]
    ]
    assert model.peak_bytes(step.widths) <= budget.peak_bytes
    last = [unit for score, unit in gone if score == max(gone)[0]]
    assert any(
        model.peak_bytes({**step.widths, unit: step.widths[unit] + 1}) > budget.peak_bytes
        for unit in last
    )


def test_what_stays_is_above_one_threshold_except_at_the_least_width() -> None:
    searched = _search_unet()
    kept = DHP().cut(searched, _budget(unet(8), 0.75), _trainer()).kept
    gone = [
        float(row[channel])
        for unit, row in searched.scores.items()
        for channel in range(len(row))
        if channel not in kept.get(unit, range(len(row)))
    ]
    stays = [
        float(searched.scores[unit][indices].min())
        for unit, indices in kept.items()
        if len(indices) > 4
    ]
    assert len(stays) > 5
    assert max(gone) <= min(stays)


def test_more_shrinkage_brings_more_latents_to_0_and_none_brings_none() -> None:
    counts = [
        _count_zero_latents(_search(DHP(shrinkage=shrinkage), unet(4)))
        for shrinkage in (0.0, 0.6, 1.2)
    ]
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    slots = network_layout(unet(4)).size
    # Of normal numbers, 45 in 100 are shorter than 0.6.
    assert counts[1] == pytest.approx(0.45 * slots, rel=0.2)


def test_small_latents_become_more_with_every_quarter_of_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = []
    shrink = Latents.shrink

    def record(latents: Latents, amount: float) -> None:
        shrink(latents, amount)
        small.append(latents.count_small())

    monkeypatch.setattr(Latents, "shrink", record)
    searched = _search(DHP(), unet(4))
    quarters = small[2::3]
    assert quarters == sorted(set(quarters))
    assert f"{small[-1]} after it" in searched.note
    assert "shrinkage 1: " in searched.note


def test_the_search_is_booked_as_pretraining_and_each_pass_is_counted_once() -> None:
    trainer = _trainer()
    network = unet(4)
    _search(DHP(), network, trainer)
    assert trainer.meter.steps == {"pretrain": SEARCH.pretrain_steps}
    assert trainer.meter.forward_passes == SEARCH.pretrain_steps
    assert not any(layer._forward_hooks for layer in network.modules())
    assert DHP().expected_steps(SEARCH) == SEARCH.pretrain_steps + SEARCH.tuning_steps


def test_from_the_pretrained_network_half_of_the_later_training_is_search() -> None:
    trainer = _trainer()
    network = unet(4)
    _search(DHP(start="pretrained"), network, trainer)
    assert trainer.meter.steps == {"search": SEARCH.tuning_steps // 2}
    assert DHP(start="pretrained").expected_steps(SEARCH) == SEARCH.tuning_steps


def test_statistics_biases_and_free_weights_are_trained_in_the_network_that_comes_out() -> None:
    network = PUBLIC["srresnet x2"]()
    fresh = PUBLIC["srresnet x2"]()
    _trainer().reinitialise(fresh)
    before = fresh.state_dict()
    after = _search(DHP(), network).network.state_dict()
    batches = "blocks.0.1.num_batches_tracked"
    assert int(after[batches]) == int(before[batches]) + SEARCH.pretrain_steps
    unmoved = [name for name, value in after.items() if torch.equal(value, before[name])]
    assert not unmoved
    assert 0 < float(after["head.0.bias"].abs().max()) < 0.1  # it started at 0


def test_a_search_lowers_the_loss() -> None:
    losses = []
    for steps in (1, 60):
        trainer = _trainer(replace(SEARCH, pretrain_steps=steps))
        losses.append(trainer.loss(_search(DHP(shrinkage=0.1), Residual(), trainer).network))
    assert losses[1] < 0.7 * losses[0], losses


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
    trainer = _trainer(replace(SEARCH, patch=32, pretrain_steps=2))
    pruned = DHP(least_width=1).prune(network, budget, trainer)
    assert isinstance(pruned, Pruned)
    referee(pruned.model, network, budget, "dhp")


def test_without_data_the_method_says_that_it_needs_some() -> None:
    with pytest.raises(ConfigError, match=r"needs data.*pass trainer="):
        DHP().prune(unet(4), _budget(unet(4), 0.5), NO_TRAINER)

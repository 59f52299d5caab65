"""Group Lasso: checks (a) to (d) of the proximal step, training with it, and both allocations."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.channels.units import Layout
from bench.contract import Budget
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.runner.referee import referee
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.channel_scores import score_channels
from bench.surgery.importance import channel_norms
from bench.surgery.masks import weight_and_output_axis
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import count_positions, scale_widths
from bench.training.trainer import TaskTrainer
from methods.group_lasso import GroupLasso, RegularisedNetwork, WeightGroups
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import PUBLIC, build_with_seed, input_shape, random_inputs
from tests.networks.small import SHAPE, Grouped, Residual, Shuffled, network_layout, unet


class AnySize(FakeTask):
    """For networks whose output is larger than the clean crop."""

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return super().loss(nn.functional.adaptive_avg_pool2d(restored, clean.shape[-1]), clean)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "residual": lambda: build_with_seed(Residual),
    "shuffled": lambda: build_with_seed(Shuffled),
    "grouped": lambda: build_with_seed(Grouped),
} | {name: PUBLIC[name] for name in ("edsr x2", "edsr x3", "srresnet x2", "dncnn", "res-u-net")}


def _trainer() -> TaskTrainer:
    return TaskTrainer(AnySize(), "embedded", RECIPE, seed=0)


def _budget(network: nn.Module, ratio: float = 0.5, name: str = "unet") -> Budget:
    shape = input_shape(name)
    return Budget(int(ratio * peak_memory(network, shape)), shape)


def _group_weights(network: nn.Module, layout: Layout, slot: int) -> Tensor:
    """The weights that compute one slot, one slice after the other."""
    slices = []
    for layer, slots in layout.makes.items():
        weight, axis = weight_and_output_axis(network.get_submodule(layer))
        slices += [
            weight.detach().select(axis, int(channel)).flatten()
            for channel in (slots == slot).nonzero()[0]
        ]
    return torch.cat(slices)


@pytest.mark.parametrize("name", ["unet", "residual", "grouped", "edsr x2"])
def test_the_proximal_step_is_the_soft_threshold_of_each_group(name: str) -> None:
    before = NETWORKS[name]()
    after = NETWORKS[name]()
    layout = network_layout(after, input_shape(name))
    groups = WeightGroups(after, layout)
    threshold = 1.001 * float(groups.norms().median())
    groups.shrink(threshold)
    for slot in range(0, layout.size, 3):
        old, new = (_group_weights(network, layout, slot) for network in (before, after))
        expected = max(0.0, 1 - threshold / float(old.norm())) * old
        torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-6)
        assert bool(old.norm() > threshold) == bool(new.any())
    same = [layer for layer, slots in layout.makes.items() if (slots < 0).all()]
    assert same
    for layer in same:
        assert torch.equal(before.get_submodule(layer).weight, after.get_submodule(layer).weight)


def test_a_group_is_the_concatenation_of_what_norms_averages() -> None:
    residual = NETWORKS["residual"]()
    edsr = NETWORKS["edsr x2"]()
    for network, name, unit, members in (
        (residual, "residual", "head", 3),
        (edsr, "edsr x2", "up.0", 4),
    ):
        layout = network_layout(network, input_shape(name))
        found = WeightGroups(network, layout).norms()[layout.slots(unit)]
        torch.testing.assert_close(found, channel_norms(network, layout)[unit] * members**0.5)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_removing_groups_that_are_zero_changes_nothing(name: str) -> None:
    network = NETWORKS[name]()
    shape = input_shape(name)
    layout = network_layout(network, shape)
    groups = WeightGroups(network, layout)
    biases = {
        name: weight.clone() for name, weight in network.named_parameters() if weight.ndim == 1
    }
    groups.shrink(float(groups.norms().median()))
    alive = {
        unit: groups.norms()[layout.slots(unit)].nonzero()[:, 0].tolist() or [0]
        for unit in layout.units
    }
    inputs = random_inputs(shape)
    smaller = remove_channels(network, alive, shape)(*inputs)
    assert sum(map(len, alive.values())) < 0.7 * layout.size
    torch.testing.assert_close(smaller, network(*inputs), rtol=1e-5, atol=1e-5)
    for weight, kept in biases.items():
        network.get_parameter(weight).copy_(kept)
    if name != "unet":  # its biases start at zero
        difference = remove_channels(network, alive, shape)(*inputs) - network(*inputs)
        assert difference.abs().max() > 1e-4


def _prepare(strength: float, network: nn.Module) -> RegularisedNetwork:
    return GroupLasso(strength=strength).prepare(network, _budget(network), _trainer())


def test_without_strength_it_is_plain_training_bit_for_bit() -> None:
    plain = unet()
    _trainer().fit(plain, 40, phase="search")
    weights = _prepare(0.0, unet()).network.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in plain.state_dict().items())
    assert not torch.equal(plain.encoder[0].c11.weight, unet().encoder[0].c11.weight)


@pytest.mark.parametrize("make", [unet, NETWORKS["residual"]])
def test_the_stronger_the_smaller_the_norms_and_the_more_groups_vanish(
    make: Callable[[], nn.Module],
) -> None:
    sizes, zeros = [], []
    for strength in (0.0, 0.5, 1.0, 1.5):
        prepared = _prepare(strength, make())
        every = torch.cat(list(prepared.scores.values()))
        sizes.append(float(every.mean()))
        zeros.append(int((every == 0).sum()))
        assert f"strength {strength:g}, " in prepared.note
        assert f"{zeros[-1]} of {len(every)} groups are zero" in prepared.note
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.6 * sizes[0]
    assert zeros == sorted(zeros)
    assert zeros[0] == 0 < zeros[2] < zeros[3]


@pytest.mark.parametrize("allocation", ["uniform", "threshold"])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_works_on_networks_with_ties_pixel_shuffle_groups_and_normalisations(
    name: str, allocation: str
) -> None:
    network = NETWORKS[name]()
    budget = _budget(network, 0.7, name)
    pruned = GroupLasso(epochs=1, allocation=allocation).prune(network, budget, _trainer())
    referee(pruned.model, network, budget, "group_lasso")
    assert pruned.kept


def _kept_widths(analysis: NetworkAnalysis, kept: dict[str, list[int]]) -> dict[str, int]:
    return {unit: len(kept.get(unit, range(full))) for unit, full in analysis.widths.items()}


@pytest.mark.parametrize("ratio", [0.3, 0.55, 0.8])
def test_one_quantum_more_breaks_the_budget(ratio: float) -> None:
    network = unet(8)
    budget = _budget(network, ratio)
    analysis = analyse_network(network, _budget(network, ratio))
    prepared = GroupLasso(epochs=1).prepare(unet(8), budget, _trainer())
    uniform, threshold = (
        GroupLasso(allocation=allocation).cut(prepared, budget, _trainer()).kept
        for allocation in ("uniform", "threshold")
    )
    position = len(uniform["encoder.0.c11"])
    assert _kept_widths(analysis, uniform) == scale_widths(analysis, position, 1)
    assert (
        analysis.peak_model.peak_bytes(scale_widths(analysis, position, 1))
        <= budget.peak_bytes
        < analysis.peak_model.peak_bytes(scale_widths(analysis, position + 1, 1))
    )
    assert count_positions(analysis) == 8
    widths = _kept_widths(analysis, threshold)
    gone = {
        (float(prepared.scores[unit][channel]), unit)
        for unit in threshold
        for channel in range(analysis.widths[unit])
        if channel not in threshold[unit]
    }
    last = max(gone)[1]
    assert (
        analysis.peak_model.peak_bytes(widths)
        <= budget.peak_bytes
        < analysis.peak_model.peak_bytes(widths | {last: widths[last] + 1})
    )


@pytest.mark.parametrize("allocation", ["uniform", "threshold"])
def test_a_budget_alone_gets_the_network_that_it_gets_in_a_sweep(allocation: str) -> None:
    network = build_with_seed(Residual)
    method = GroupLasso(epochs=2, allocation=allocation)
    budgets = [_budget(network, ratio) for ratio in (0.6, 0.9)]
    trainer = _trainer()
    sweep = dict(method.sweep(network, budgets, trainer))
    assert trainer.meter.steps == {"search": 2 * RECIPE.steps_per_epoch}
    for budget, expected in sweep.items():
        alone = method.prune(network, budget, _trainer())
        assert (alone.kept, alone.trace) == (expected.kept, expected.trace)
        pairs = zip(alone.model.parameters(), expected.model.parameters(), strict=True)
        assert all(torch.equal(weight, other) for weight, other in pairs)
    pairs = zip(network.parameters(), build_with_seed(Residual).parameters(), strict=True)
    assert all(torch.equal(weight, other) for weight, other in pairs)


def test_the_largest_groups_of_a_unit_stay() -> None:
    prepared = _prepare(1.0, NETWORKS["residual"]())
    kept = GroupLasso().cut(prepared, _budget(NETWORKS["residual"](), 0.7), _trainer()).kept
    for unit, indices in kept.items():
        score = prepared.scores[unit]
        gone = [float(score[index]) for index in range(len(score)) if index not in indices]
        assert max(gone) <= float(score[indices].min())


def test_another_criterion_scores_the_network_that_was_trained_with_the_penalty() -> None:
    network = NETWORKS["residual"]()
    trainer = _trainer()
    method = GroupLasso(epochs=2, importance="gradient")
    prepared = method.prepare(network, _budget(network, 0.7), trainer)
    layout = prepared.analysis.layout
    expected = score_channels("gradient", prepared.network, layout, trainer)
    torch.testing.assert_close(prepared.scores, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("matched_steps", "steps"), [(0, 6), (30, 6), (12, 4), (2, 1)])
def test_with_matched_steps_the_penalty_takes_at_most_a_third_of_them(
    matched_steps: int, steps: int
) -> None:
    network = NETWORKS["residual"]()
    recipe = replace(RECIPE, matched_steps=matched_steps)
    trainer = TaskTrainer(AnySize(), "embedded", recipe, seed=0)
    GroupLasso(epochs=3).prepare(network, _budget(network), trainer)
    assert trainer.meter.steps == {"search": steps}


def test_steps_are_forecast_and_impossible_budgets_and_options_are_refused() -> None:
    steps = 3 * RECIPE.steps_per_epoch + RECIPE.finetune_steps
    assert GroupLasso(epochs=3).expected_steps(RECIPE) == steps
    assert GroupLasso(epochs=3).expected_steps(replace(RECIPE, matched_steps=50)) == 50
    trainer = _trainer()
    with pytest.raises(Infeasible, match="the least is"):
        GroupLasso(epochs=1).prune(unet(), Budget(1000, SHAPE), trainer)
    assert not trainer.meter.steps
    with pytest.raises(ConfigError, match="strength"):
        GroupLasso(strength=-1.0)

"""Group Lasso: checks (a) to (d) of its proximal step, its effect on a training, and the budget under both allocations."""

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
from bench.surgery.analysis import NetworkAnalysis, analyze_network
from bench.surgery.importance import channel_norms
from bench.surgery.masks import output_slices
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import positions, scaled
from bench.training.trainer import TaskTrainer
from methods.group_lasso import GroupLasso, Groups, Sparse
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import PUBLIC, inputs_of, seeded, shape_of
from tests.networks.small import SHAPE, Grouped, Residual, Shuffled, layout_at, unet


class AnySize(FakeTask):
    """For networks whose output is larger than the clean crop."""

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return super().loss(nn.functional.adaptive_avg_pool2d(restored, clean.shape[-1]), clean)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": unet,
    "residual": lambda: seeded(Residual),
    "shuffled": lambda: seeded(Shuffled),
    "grouped": lambda: seeded(Grouped),
} | {name: PUBLIC[name] for name in ("edsr x2", "edsr x3", "srresnet x2", "dncnn", "res-u-net")}


def _trainer() -> TaskTrainer:
    return TaskTrainer(AnySize(), "embedded", RECIPE, seed=0)


def _budget(network: nn.Module, ratio: float = 0.5, name: str = "unet") -> Budget:
    shape = shape_of(name)
    return Budget(int(ratio * peak_memory(network, shape)), shape)


def _group(network: nn.Module, channels: Layout, place: int) -> Tensor:
    """The weights that make one place, one slice after the other."""
    found = []
    for layer, places in channels.makes.items():
        weight, axis = output_slices(network.get_submodule(layer))
        found += [
            weight.detach().select(axis, int(channel)).flatten()
            for channel in (places == place).nonzero()[0]
        ]
    return torch.cat(found)


@pytest.mark.parametrize("name", ["unet", "residual", "grouped", "edsr x2"])
def test_the_proximal_step_is_the_soft_threshold_of_each_group(name: str) -> None:
    before, after = NETWORKS[name](), NETWORKS[name]()
    channels = layout_at(after, shape_of(name))
    groups = Groups(after, channels)
    threshold = 1.001 * float(groups.norms().median())
    groups.shrink(threshold)
    for place in range(0, channels.size, 3):
        old, new = (_group(network, channels, place) for network in (before, after))
        expected = max(0.0, 1 - threshold / float(old.norm())) * old
        torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-6)
        assert bool(old.norm() > threshold) == bool(new.any())
    same = [layer for layer, places in channels.makes.items() if (places < 0).all()]
    assert same
    assert all(
        torch.equal(before.get_submodule(layer).weight, after.get_submodule(layer).weight)
        for layer in same
    )


def test_a_group_is_the_concatenation_of_what_norms_averages() -> None:
    residual, edsr = NETWORKS["residual"](), NETWORKS["edsr x2"]()
    for network, name, unit, members in (
        (residual, "residual", "head", 3),
        (edsr, "edsr x2", "up.0", 4),
    ):
        channels = layout_at(network, shape_of(name))
        found = Groups(network, channels).norms()[channels.places(unit)]
        torch.testing.assert_close(found, channel_norms(network, channels)[unit] * members**0.5)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_removing_groups_that_are_zero_changes_nothing(name: str) -> None:
    network, shape = NETWORKS[name](), shape_of(name)
    channels = layout_at(network, shape)
    groups = Groups(network, channels)
    biases = {
        name: weight.clone() for name, weight in network.named_parameters() if weight.ndim == 1
    }
    groups.shrink(float(groups.norms().median()))
    alive = {
        unit: groups.norms()[channels.places(unit)].nonzero()[:, 0].tolist() or [0]
        for unit in channels.units
    }
    smaller, whole = (
        remove_channels(network, alive, shape)(*inputs_of(shape)),
        network(*inputs_of(shape)),
    )
    assert sum(map(len, alive.values())) < 0.7 * channels.size
    torch.testing.assert_close(smaller, whole, rtol=1e-5, atol=1e-5)
    for weight, kept in biases.items():
        network.get_parameter(weight).copy_(kept)
    if name != "unet":  # whose biases start at zero
        assert (
            remove_channels(network, alive, shape)(*inputs_of(shape)) - network(*inputs_of(shape))
        ).abs().max() > 1e-4


def _prepared(strength: float, network: nn.Module) -> Sparse:
    return GroupLasso(strength=strength).prepare(network, _budget(network), _trainer())


def test_without_strength_it_is_plain_training_bit_for_bit() -> None:
    plain = unet()
    _trainer().fit(plain, 40, phase="search")
    found = _prepared(0.0, unet()).network
    assert all(
        torch.equal(weight, found.state_dict()[name]) for name, weight in plain.state_dict().items()
    )
    assert not torch.equal(
        plain.state_dict()["encoder.0.c11.weight"], unet().state_dict()["encoder.0.c11.weight"]
    )


@pytest.mark.parametrize("make", [unet, NETWORKS["residual"]])
def test_the_stronger_the_smaller_the_norms_and_the_more_groups_vanish(
    make: Callable[[], nn.Module],
) -> None:
    sizes, zeros = [], []
    for strength in (0.0, 0.5, 1.0, 1.5):
        prepared = _prepared(strength, make())
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


def _kept_of(body: NetworkAnalysis, kept: dict[str, list[int]]) -> dict[str, int]:
    return {unit: len(kept.get(unit, range(full))) for unit, full in body.widths.items()}


@pytest.mark.parametrize("ratio", [0.3, 0.55, 0.8])
def test_one_quantum_more_breaks_the_budget(ratio: float) -> None:
    network = unet(8)
    budget, body = _budget(network, ratio), analyze_network(network, _budget(network, ratio))
    prepared = GroupLasso(epochs=1).prepare(unet(8), budget, _trainer())
    uniform, threshold = (
        GroupLasso(allocation=one).cut(prepared, budget, _trainer()).kept
        for one in ("uniform", "threshold")
    )
    position = len(uniform["encoder.0.c11"])
    assert _kept_of(body, uniform) == scaled(body, position, 1)
    assert (
        body.peaks.peak_bytes(scaled(body, position, 1))
        <= budget.peak_bytes
        < body.peaks.peak_bytes(scaled(body, position + 1, 1))
    )
    assert positions(body) == 8
    widths = _kept_of(body, threshold)
    gone = {
        (float(prepared.scores[unit][one]), unit)
        for unit in threshold
        for one in range(body.widths[unit])
        if one not in threshold[unit]
    }
    last = max(gone)[1]
    assert (
        body.peaks.peak_bytes(widths)
        <= budget.peak_bytes
        < body.peaks.peak_bytes(widths | {last: widths[last] + 1})
    )


@pytest.mark.parametrize("allocation", ["uniform", "threshold"])
def test_a_budget_alone_gets_the_network_that_it_gets_in_a_sweep(allocation: str) -> None:
    network, method = seeded(Residual), GroupLasso(epochs=2, allocation=allocation)
    budgets, trainer = [_budget(network, ratio) for ratio in (0.6, 0.9)], _trainer()
    swept = dict(method.sweep(network, budgets, trainer))
    assert trainer.meter.steps == {"search": 2 * RECIPE.steps_per_epoch}
    for budget, expected in swept.items():
        alone = method.prune(network, budget, _trainer())
        assert (alone.kept, alone.trace) == (expected.kept, expected.trace)
        pairs = zip(alone.model.parameters(), expected.model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert all(
        torch.equal(one, other)
        for one, other in zip(network.parameters(), seeded(Residual).parameters(), strict=True)
    )


def test_the_largest_groups_of_a_unit_stay() -> None:
    prepared = _prepared(1.0, NETWORKS["residual"]())
    kept = GroupLasso().cut(prepared, _budget(NETWORKS["residual"](), 0.7), _trainer()).kept
    for unit, indices in kept.items():
        score = prepared.scores[unit]
        gone = [float(score[one]) for one in range(len(score)) if one not in indices]
        assert max(gone) <= float(score[indices].min())


def test_steps_are_foreseen_and_impossible_budgets_and_options_are_refused() -> None:
    assert (
        GroupLasso(epochs=3).expected_steps(RECIPE)
        == 3 * RECIPE.steps_per_epoch + RECIPE.finetune_steps
    )
    assert GroupLasso(epochs=3).expected_steps(replace(RECIPE, matched_steps=50)) == 50
    with pytest.raises(Infeasible, match="the least is"):
        GroupLasso(epochs=1).prune(unet(), Budget(1000, SHAPE), _trainer())
    with pytest.raises(ConfigError, match="strength"):
        GroupLasso(strength=-1.0)

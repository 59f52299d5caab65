"""MOSP's loop: checks (b), (e), (g), one trajectory for a sweep, and the quality of its cut."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.contract import NO_TRAINER, Budget, Pruned, Recipe
from bench.errors import ConfigError, Infeasible
from bench.export import saved
from bench.memory.groups import peak_group
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory
from bench.surgery.compactors import insert_compactors, long_skips
from bench.surgery.remove import remove_channels
from bench.training.trainer import TaskTrainer
from methods.mosp import MOSP
from methods.mosp.trajectory import GroupTrajectory
from tests.fakes import AnyScale, FakeTask
from tests.networks.small import SHAPE, network_layout, unet

RECIPE = Recipe(
    patch=32,
    batch=4,
    adapt_steps=1,
    steps_per_epoch=1,
    calibration_crops=4,
    tuning_rate=1e-4,
    threads=1,
)


def _trainer(recipe: Recipe = RECIPE) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", recipe, seed=0)


def _budgets(network: nn.Module, *ratios: float) -> list[Budget]:
    return [Budget(int(ratio * peak_memory(network, SHAPE)), SHAPE) for ratio in ratios]


def _trajectory(network: nn.Module) -> GroupTrajectory:
    outer_bytes = peak_memory(network, SHAPE) // 12
    return GroupTrajectory(network, Budget(1, SHAPE), _trainer(), outer_bytes)


@pytest.mark.parametrize("compactors", [True, False])
@pytest.mark.parametrize("ratio", [0.9, 0.55, 0.3])
def test_the_budget_is_met_with_less_than_one_channel_of_slack_at_the_last_step(
    ratio: float, compactors: bool
) -> None:
    network = unet(8)
    (budget,) = _budgets(network, ratio)
    pruned = MOSP(compactors=compactors).prune(network, budget, _trainer())
    peak = peak_memory(pruned.model, SHAPE)
    whole = insert_compactors(network, pruned.inserted, SHAPE) if compactors else network
    model = peak_model(whole, SHAPE)
    largest_channel = max(
        max(model.per_channel(step).values(), default=0) for step in range(len(model.steps))
    )
    assert budget.peak_bytes - largest_channel < peak <= budget.peak_bytes
    assert peak == pruned.trace[-1].peak_bytes


def test_each_turn_frees_its_stride_from_the_group_at_the_peak_and_no_peak_rises() -> None:
    trajectory = _trajectory(unet(8, compactors=True))
    for _ in range(6):
        group = peak_group(trajectory.peak_model, trajectory.widths)
        before = trajectory.widths
        bytes_before = trajectory.peak_model.step_bytes(before)
        trajectory.advance(trajectory.outer_bytes)
        bytes_after = trajectory.peak_model.step_bytes(trajectory.widths)
        assert bytes_before[group.step] - bytes_after[group.step] >= trajectory.outer_bytes
        assert (bytes_after <= bytes_before).all()
        changed = {unit for unit in before if before[unit] != trajectory.widths[unit]}
        assert changed <= group.per_channel.keys()


def test_a_budget_gets_the_same_network_alone_and_in_any_sweep() -> None:
    network = unet(4)
    budgets = _budgets(network, 0.8, 0.6, 0.45)
    for budget, outcome in MOSP().sweep(network, budgets, _trainer()):
        assert isinstance(outcome, Pruned)
        alone = MOSP().prune(network, budget, _trainer())
        assert alone.kept == outcome.kept
        weights = outcome.model.state_dict()
        for name, tensor in alone.model.state_dict().items():
            assert torch.equal(tensor, weights[name])


def test_every_turn_is_followed_by_one_epoch_also_in_the_last_strides_of_a_budget() -> None:
    network = unet(4)
    trainer = _trainer()
    for _, outcome in MOSP().sweep(network, _budgets(network, 0.8, 0.5), trainer):
        assert isinstance(outcome, Pruned)
        turns = len(outcome.trace) - 1
        assert trainer.meter.steps == {
            "adapt": RECIPE.adapt_steps,
            "search": turns * RECIPE.steps_per_epoch,
        }


def test_what_the_harness_trains_between_two_budgets_does_not_touch_the_trajectory() -> None:
    network = unet(4)
    budgets = _budgets(network, 0.8, 0.6)
    trainer = _trainer()
    kept = []
    for _, outcome in MOSP().sweep(network, budgets, trainer):
        assert isinstance(outcome, Pruned)
        kept.append(outcome.kept)
        for weight in outcome.model.parameters():
            nn.init.zeros_(weight)
    assert kept[1] == MOSP().prune(network, budgets[1], _trainer()).kept


def test_kept_channels_and_inserted_compactors_rebuild_the_network() -> None:
    network = unet(4)
    pruned = MOSP().prune(network, *_budgets(network, 0.5), _trainer())
    compacted = insert_compactors(unet(4), pruned.inserted, SHAPE)
    rebuilt = remove_channels(compacted, pruned.kept, SHAPE)
    rebuilt.load_state_dict(pruned.model.state_dict())
    x = torch.rand(SHAPE)
    torch.testing.assert_close(rebuilt(x), pruned.model(x), rtol=0, atol=1e-6)


def test_the_network_that_is_passed_in_is_untouched() -> None:
    network = unet(4)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    MOSP().prune(network, *_budgets(network, 0.6), _trainer())
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


def test_without_compactors_nothing_is_inserted_and_nothing_adapted() -> None:
    network = unet(4)
    trainer = _trainer()
    pruned = MOSP(compactors=False).prune(network, *_budgets(network, 0.8), trainer)
    assert pruned.inserted == ()
    assert len(network_layout(pruned.model).units) == 22
    assert "adapt" not in trainer.meter.steps


def test_no_unit_goes_below_the_least_width() -> None:
    network = unet(4)
    trainer = _trainer(replace(RECIPE, min_width=2))
    compacted = insert_compactors(network, long_skips(network, SHAPE), SHAPE)
    least = peak_model(compacted, SHAPE).least_bytes(2)
    pruned = MOSP().prune(network, Budget(least, SHAPE), trainer)
    assert min(network_layout(pruned.model).widths.values()) == 2
    with pytest.raises(Infeasible, match="the least is"):
        MOSP().prune(network, Budget(least - 1, SHAPE), trainer)


def test_an_impossible_budget_does_not_stop_the_others_and_costs_no_training() -> None:
    network = unet(4)
    trainer = _trainer()
    budgets = [Budget(1, SHAPE), *_budgets(network, 1.0)]
    outcomes = [outcome for _, outcome in MOSP().sweep(network, budgets, trainer)]
    assert isinstance(outcomes[0], Pruned)
    assert isinstance(outcomes[1], Infeasible)
    assert outcomes[1].least_bytes is not None


def test_without_data_the_method_says_that_it_needs_some() -> None:
    with pytest.raises(ConfigError, match=r"needs data.*pass trainer="):
        MOSP().prune(unet(4), *_budgets(unet(4), 0.5), NO_TRAINER)


@pytest.mark.parametrize("stride", ["", "x", "0", "2", "1/0", "-1/3"])
def test_a_stride_that_is_no_share_of_the_peak_is_refused(stride: str) -> None:
    with pytest.raises(ConfigError, match="outer_stride"):
        MOSP(outer_stride=stride)


def test_the_smallest_stride_frees_a_byte() -> None:
    assert MOSP(outer_stride="1/1000000").outer_bytes(peak_bytes=1000) == 1


def test_with_pairs_the_skip_around_all_blocks_has_its_own_channels_and_survives_saving(
    tmp_path: Path,
) -> None:
    task = AnyScale()
    network = task.build("small_edsr", width=6, blocks=3).eval()
    (budget,) = _budgets(network, 0.55)
    trainer = TaskTrainer(task, "embedded", RECIPE, seed=0)
    pruned = MOSP(pairs=True).prune(network, budget, trainer)
    assert pruned.inserted == ("head",)
    assert peak_memory(pruned.model, SHAPE) <= 0.55 * peak_memory(network, SHAPE)
    assert network_layout(pruned.model).widths.keys() >= {"head", "compactors.head"}
    saved.save(
        tmp_path,
        pruned.model,
        task="fake",
        task_options={},
        backbone="small_edsr",
        backbone_options={"width": 6, "blocks": 3},
        kept=pruned.kept,
        inserted=pruned.inserted,
    )
    x = torch.rand(SHAPE)
    torch.testing.assert_close(saved.load(tmp_path)(x), pruned.model.eval()(x))


def test_an_inner_step_removes_at_most_a_quarter_of_a_unit() -> None:
    trajectory = _trajectory(unet(8))
    for unit, width in trajectory.widths.items():
        assert trajectory._max_removals(unit, 1000) == min(-(-width // 4), width - 1)
        assert trajectory._max_removals(unit, 1) == min(1, width - 1)

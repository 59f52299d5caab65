"""AutoSlim: the greedy path on losses that are known, and on a trained network."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from bench.contract import Budget, Recipe, Widths
from bench.errors import ConfigError, Infeasible
from bench.memory.groups import peak_group
from bench.memory.peak_model import floor_widths, peak_model
from bench.memory.profile import peak_memory
from bench.training.trainer import TaskTrainer
from methods.slimmable.autoslim import AutoSlim, Path
from methods.slimmable.training import Slimmable
from tests.fakes import FakeTask
from tests.networks.small import SHAPE, Residual, unet

RECIPE = Recipe(
    patch=32,
    batch=2,
    pretrain_steps=10,
    finetune_steps=4,
    steps_per_epoch=1,
    calibration_crops=2,
    threads=1,
)
MODEL = peak_model(unet(4), SHAPE)
GROUPS = 4  # of a unit's channels, where a path is walked on a network: 32 take thousands of passes


def trainer(**changes: int) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", replace(RECIPE, **changes), seed=0)


def budget_of(network: torch.nn.Module, ratio: float) -> Budget:
    return Budget(int(ratio * peak_memory(network, SHAPE)), SHAPE)


def linear_errors(cost: dict[str, float]):
    """Error = sum over units of cost x removed channels."""

    def errors(trials: Sequence[Widths]) -> list[float]:
        return [
            sum(cost[unit] * (MODEL.widths[unit] - width) for unit, width in trial.items())
            for trial in trials
        ]

    return errors


def path(cost: dict[str, float], peak_aware: bool = False) -> Path:
    return Path(MODEL, floor_widths(MODEL.widths, 1), 32, peak_aware, linear_errors(cost))


def test_units_go_in_the_order_of_what_a_channel_costs() -> None:
    draws = torch.rand(len(MODEL.widths), generator=torch.Generator().manual_seed(0))
    cost = dict(zip(MODEL.widths, draws.tolist(), strict=True))
    one = path(cost)
    for _ in range(3 * sum(1 for _ in MODEL.widths)):
        one.advance()
    removed = [unit for unit, _, _ in one.history]
    first = list(dict.fromkeys(removed))
    group = {unit: max(1, full // 32) for unit, full in MODEL.widths.items()}
    assert first == sorted(first, key=lambda unit: cost[unit] * group[unit])
    assert [removed.count(unit) * group[unit] for unit in first[:-1]] == [
        MODEL.widths[unit] - 1 for unit in first[:-1]
    ]


def test_of_equal_errors_the_first_unit_goes() -> None:
    one = path(dict.fromkeys(MODEL.widths, 0.0))
    one.advance()
    assert one.history[0][0] == next(iter(MODEL.widths))


@pytest.mark.parametrize("peak_aware", [False, True])
def test_every_step_shrinks_one_unit_by_one_group_and_no_peak_rises(peak_aware: bool) -> None:
    one = path(dict.fromkeys(MODEL.widths, 1.0), peak_aware)
    for _ in range(12):
        before, alive = dict(one.widths), peak_group(MODEL, one.widths).per_channel
        one.advance()
        (unit,) = [unit for unit in before if one.widths[unit] != before[unit]]
        assert before[unit] - one.widths[unit] == max(1, MODEL.widths[unit] // 32)
        assert MODEL.peak_bytes(one.widths) <= MODEL.peak_bytes(before)
        assert not peak_aware or unit in alive


def test_the_peak_aware_path_takes_the_least_rise_for_a_byte() -> None:
    bytes_each = peak_group(MODEL, MODEL.widths).per_channel
    cost = dict.fromkeys(MODEL.widths, 1.0) | {
        unit: 2.0 * size for unit, size in bytes_each.items()
    }
    bargain = list(bytes_each)[-1]
    one = path(cost | {bargain: 1.0 * bytes_each[bargain]}, peak_aware=True)
    one.advance()
    assert one.history[0][0] == bargain


@pytest.mark.parametrize("peak_aware", [False, True])
def test_undoing_the_last_step_breaks_the_budget_and_smaller_budgets_extend_the_path(
    peak_aware: bool,
) -> None:
    network = unet(4)
    method = AutoSlim(peak_aware=peak_aware, epochs=2, finish="finetune", groups=GROUPS)
    outcomes = list(
        method.sweep(network, [budget_of(network, ratio) for ratio in (0.5, 0.8)], trainer())
    )
    (large, first), (small, second) = outcomes
    for budget, pruned in outcomes:
        unit = pruned.trace[0].note.split("last of ")[1].split(":")[0]
        widths = pruned.trace[0].widths
        group = max(1, MODEL.widths[unit] // GROUPS)
        assert (
            MODEL.peak_bytes(widths)
            <= budget.peak_bytes
            < MODEL.peak_bytes(widths | {unit: widths[unit] + group})
        )
    assert large.peak_bytes > small.peak_bytes
    assert all(
        second.trace[0].widths[unit] <= width for unit, width in first.trace[0].widths.items()
    )


def test_the_chosen_network_is_better_than_the_mean_of_its_candidates() -> None:
    torch.manual_seed(1)  # one whose last step has several candidates
    network, teacher = Residual(), trainer(steps_per_epoch=5, batch=4)
    note = (
        AutoSlim(finish="finetune").prune(network, budget_of(network, 0.6), teacher).trace[0].note
    )
    error, mean = (float(note.split(word)[1].split(",")[0]) for word in ("error ", "candidates "))
    assert error < mean


def test_a_budget_costs_the_path_up_to_it() -> None:
    network, passes = unet(4), []
    for ratio in (0.9, 0.6):
        listening = trainer()
        with listening.count_calls(network):
            AutoSlim(epochs=1, groups=GROUPS).prune(network, budget_of(network, ratio), listening)
        passes.append(listening.meter.forward_passes)
    assert passes[0] < passes[1]


@pytest.mark.parametrize(
    ("start", "steps"), [("scratch", {"pretrain": 2}), ("pretrained", {"adapt": 3})]
)
def test_the_slimmable_network_is_trained_where_it_is_said(start, steps: dict[str, int]) -> None:
    network, listening = unet(4), trainer()
    pruned = AutoSlim(start=start, epochs=3, groups=GROUPS).prune(
        network, budget_of(network, 0.9), listening
    )
    assert (dict(listening.meter.steps), pruned.finish) == (steps, "scratch")


def test_a_budget_below_the_floor_is_infeasible() -> None:
    network = unet(4)
    with pytest.raises(Infeasible, match="the least is"):
        AutoSlim(epochs=1).prune(network, Budget(100, SHAPE), trainer())


def test_in_a_sweep_a_budget_is_charged_what_it_costs_alone() -> None:
    network, method = Residual(), AutoSlim(epochs=1, finish="finetune")
    budgets = [budget_of(network, ratio) for ratio in (0.8, 0.5)]

    def charged(asked: Sequence[Budget]) -> list[tuple]:
        """Read where the harness reads it: as each network is handed over."""
        listening, found = trainer(), []
        with listening.count_calls(network):
            for _ in method.sweep(network, asked, listening):
                spent = listening.meter.spent()
                found.append((spent.steps, spent.samples, spent.forward_passes))
        return found

    alone = [charged([budget])[0] for budget in budgets]
    assert charged(budgets) == alone
    assert alone[0][-1] < alone[1][-1]


def test_each_step_trains_the_widest_the_narrowest_and_two_with_a_width_of_its_own_in_every_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[Widths]] = []
    true_run = Slimmable.run
    monkeypatch.setattr(
        Slimmable,
        "run",
        lambda self, widths, x: seen[-1].append(widths) or true_run(self, widths, x),
    )
    for _ in range(2):
        seen.append([])
        AutoSlim(epochs=4, least=0.25)._slimmable(unet(8), Budget(1, SHAPE), trainer())
    assert seen[0] == seen[1]
    full = peak_model(unet(8), SHAPE).widths
    narrowest, random = seen[0][::3], [widths for place, widths in enumerate(seen[0]) if place % 3]
    assert narrowest == [{unit: width // 4 for unit, width in full.items()}] * 4
    assert all(
        full[unit] // 4 <= width <= full[unit]
        for widths in random
        for unit, width in widths.items()
    )
    assert all(len({round(widths[unit] / full[unit], 1) for unit in full}) > 2 for widths in random)


@pytest.mark.parametrize(
    "options", [{"least": 0.0}, {"least": 1.5}, {"groups": 0}, {"crops": 0}, {"epochs": -1}]
)
def test_options_that_mean_nothing_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} = "):
        AutoSlim(**options)


@pytest.mark.parametrize(
    ("start", "finish", "steps"),
    [("pretrained", "finetune", 4), ("scratch", "finetune", 6), ("scratch", "scratch", 16)],
)
def test_a_forecast_knows_all_training(start, finish, steps: int) -> None:
    assert AutoSlim(start=start, finish=finish).expected_steps(RECIPE) == steps

"""AutoSlim: the greedy path on losses that are known, and on a trained network."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.contract import Budget, Recipe, Widths
from bench.errors import ConfigError, Infeasible
from bench.memory.groups import peak_group
from bench.memory.peak_model import compute_min_widths, peak_model
from bench.memory.profile import peak_memory
from bench.surgery.importance import channel_norms
from bench.training.trainer import TaskTrainer
from methods.slimmable.autoslim import AutoSlim, GreedyPath, PathErrors
from methods.slimmable.training import Slimmable
from tests.fakes import FakeTask
from tests.networks.public import PUBLIC
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
GROUPS = 4  # for paths on a real network, where 32 groups take thousands of passes


def make_trainer(**changes: int) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", replace(RECIPE, **changes), seed=0)


def make_budget(network: torch.nn.Module, ratio: float) -> Budget:
    return Budget(int(ratio * peak_memory(network, SHAPE)), SHAPE)


def linear_errors(cost: dict[str, float]):
    """Errors that are the sum over units of cost x removed channels."""

    def errors(trials: Sequence[Widths]) -> list[float]:
        return [
            sum(cost[unit] * (MODEL.widths[unit] - width) for unit, width in trial.items())
            for trial in trials
        ]

    return errors


def make_path(cost: dict[str, float], peak_aware: bool = False) -> GreedyPath:
    return GreedyPath(
        MODEL, compute_min_widths(MODEL.widths, 1), 32, peak_aware, linear_errors(cost)
    )


def test_units_shrink_in_the_order_of_the_cost_of_a_channel() -> None:
    draws = torch.rand(len(MODEL.widths), generator=torch.Generator().manual_seed(0))
    cost = dict(zip(MODEL.widths, draws.tolist(), strict=True))
    path = make_path(cost)
    for _ in range(3 * len(MODEL.widths)):
        path.advance()
    removed = [unit for unit, _, _ in path.history]
    first = list(dict.fromkeys(removed))
    group = {unit: max(1, full // 32) for unit, full in MODEL.widths.items()}
    assert first == sorted(first, key=lambda unit: cost[unit] * group[unit])
    for unit in first[:-1]:
        assert removed.count(unit) * group[unit] == MODEL.widths[unit] - 1


def test_of_units_with_equal_errors_the_first_shrinks() -> None:
    path = make_path(dict.fromkeys(MODEL.widths, 0.0))
    path.advance()
    assert path.history[0][0] == next(iter(MODEL.widths))


@pytest.mark.parametrize("peak_aware", [False, True])
def test_every_step_shrinks_one_unit_by_one_group_and_no_peak_rises(peak_aware: bool) -> None:
    path = make_path(dict.fromkeys(MODEL.widths, 1.0), peak_aware)
    for _ in range(12):
        before = dict(path.widths)
        alive = peak_group(MODEL, path.widths).per_channel
        path.advance()
        (unit,) = [unit for unit in before if path.widths[unit] != before[unit]]
        assert before[unit] - path.widths[unit] == max(1, MODEL.widths[unit] // 32)
        assert MODEL.peak_bytes(path.widths) <= MODEL.peak_bytes(before)
        assert not peak_aware or unit in alive


def test_the_peak_aware_path_takes_the_least_rise_for_a_byte() -> None:
    channel_bytes = peak_group(MODEL, MODEL.widths).per_channel
    cost = dict.fromkeys(MODEL.widths, 1.0)
    cost |= {unit: 2.0 * size for unit, size in channel_bytes.items()}
    cheapest = list(channel_bytes)[-1]
    path = make_path(cost | {cheapest: 1.0 * channel_bytes[cheapest]}, peak_aware=True)
    path.advance()
    assert path.history[0][0] == cheapest


@pytest.mark.parametrize("peak_aware", [False, True])
@pytest.mark.parametrize("name", ["unet", "residual", "nafnet"])
def test_a_path_is_the_one_that_slices_give(name: str, peak_aware: bool) -> None:
    networks = {"unet": unet, "residual": Residual, "nafnet": PUBLIC["nafnet"]}
    slimmable = Slimmable(networks[name]().eval(), Budget(1, SHAPE))
    slimmable.rank_channels(channel_norms(slimmable.model, slimmable.analysis.layout))
    trainer = make_trainer()
    (degraded, clean), *_ = trainer.calibration

    def measure_slices(trials: Sequence[Widths]) -> list[float]:
        with torch.inference_mode():
            outputs = [slimmable.run(widths, degraded) for widths in trials]
        return [float(trainer.criterion(output, clean)) for output in outputs]

    model = slimmable.analysis.peak_model
    least = compute_min_widths(model.widths, 1)
    measures = (PathErrors(slimmable, trainer, crops=2), measure_slices)
    path, expected = (GreedyPath(model, least, 4, peak_aware, measure) for measure in measures)
    for _ in range(8):
        path.advance()
        expected.advance()
        assert path.widths == expected.widths
        assert path.history[-1][1:] == pytest.approx(expected.history[-1][1:], rel=1e-6)


@pytest.mark.parametrize("peak_aware", [False, True])
def test_undoing_the_last_step_breaks_the_budget_and_smaller_budgets_extend_the_path(
    peak_aware: bool,
) -> None:
    network = unet(4)
    method = AutoSlim(peak_aware=peak_aware, epochs=2, finish="finetune", groups=GROUPS)
    budgets = [make_budget(network, ratio) for ratio in (0.5, 0.8)]
    outcomes = list(method.sweep(network, budgets, make_trainer()))
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
    torch.manual_seed(3)  # with this seed, the last step has several candidates
    network = Residual()
    trainer = make_trainer(steps_per_epoch=5, batch=4)
    pruned = AutoSlim(finish="finetune").prune(network, make_budget(network, 0.6), trainer)
    note = pruned.trace[0].note
    error, mean = (float(note.split(word)[1].split(",")[0]) for word in ("error ", "candidates "))
    assert error < mean


def test_a_budget_costs_the_path_up_to_it() -> None:
    network = unet(4)
    passes = []
    for ratio in (0.9, 0.6):
        trainer = make_trainer()
        with trainer.count_calls(network):
            AutoSlim(epochs=1, groups=GROUPS).prune(network, make_budget(network, ratio), trainer)
        passes.append(trainer.meter.forward_passes)
    assert passes[0] < passes[1]


@pytest.mark.parametrize(
    ("start", "steps"), [("scratch", {"pretrain": 2}), ("pretrained", {"adapt": 3})]
)
def test_the_slimmable_network_is_trained_in_the_phase_of_its_start(
    start, steps: dict[str, int]
) -> None:
    network = unet(4)
    trainer = make_trainer()
    method = AutoSlim(start=start, epochs=3, groups=GROUPS)
    pruned = method.prune(network, make_budget(network, 0.9), trainer)
    assert (dict(trainer.meter.steps), pruned.finish) == (steps, "scratch")


def test_a_budget_below_the_floor_is_infeasible_before_any_training() -> None:
    network = unet(4)
    trainer = make_trainer()
    with pytest.raises(Infeasible, match="the least is"):
        AutoSlim(epochs=1).prune(network, Budget(100, SHAPE), trainer)
    assert not trainer.meter.steps


def test_in_a_sweep_a_budget_is_charged_what_it_costs_alone() -> None:
    network = Residual()
    method = AutoSlim(epochs=1, finish="finetune")
    budgets = [make_budget(network, ratio) for ratio in (0.8, 0.5)]

    def read_costs(budgets: Sequence[Budget]) -> list[tuple]:
        """Read the meter where the harness does: as each network is handed over."""
        trainer = make_trainer()
        costs = []
        with trainer.count_calls(network):
            for _ in method.sweep(network, budgets, trainer):
                cost = trainer.meter.cost()
                costs.append((cost.steps, cost.samples, cost.forward_passes))
        return costs

    alone = [read_costs([budget])[0] for budget in budgets]
    assert read_costs(budgets) == alone
    assert alone[0][-1] < alone[1][-1]


def test_each_step_trains_the_widest_the_narrowest_and_two_with_a_width_of_its_own_in_every_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[list[Widths]] = []
    run = Slimmable.run

    def record(self: Slimmable, widths: Widths, x: Tensor) -> Tensor:
        runs[-1].append(widths)
        return run(self, widths, x)

    monkeypatch.setattr(Slimmable, "run", record)
    for _ in range(2):
        runs.append([])
        AutoSlim(epochs=4, least=0.25)._train_slimmable(unet(8), Budget(1, SHAPE), make_trainer())
    assert runs[0] == runs[1]
    full = peak_model(unet(8), SHAPE).widths
    narrowest = runs[0][::3]
    random = [widths for index, widths in enumerate(runs[0]) if index % 3]
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
    ("start", "finish", "matched_steps", "steps"),
    [
        ("pretrained", "finetune", 0, 4 + 3 * RECIPE.steps_per_epoch),
        ("pretrained", "finetune", 9, 9),
        ("scratch", "finetune", 0, 6),
        ("scratch", "scratch", 0, 16),
    ],
)
def test_a_forecast_includes_all_training(start, finish, matched_steps: int, steps: int) -> None:
    recipe = replace(RECIPE, matched_steps=matched_steps)
    assert AutoSlim(start=start, finish=finish, epochs=3).expected_steps(recipe) == steps

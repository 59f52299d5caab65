"""ASSL as a method: the budget, changes before fine-tuning (check (b)), all kinds of networks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Budget, Pruned
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.runner.referee import referee
from bench.surgery.analysis import analyse_network
from bench.surgery.channel_scores import score_channels
from bench.surgery.width_search import count_positions, scale_widths
from bench.training.checkpoints import Checkpoints
from bench.training.trainer import TaskTrainer
from methods.assl import ASSL
from methods.uniform import Uniform
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import PUBLIC, build_with_seed, input_shape
from tests.networks.small import SHAPE, Residual, unet


class AnySize(FakeTask):
    """For networks whose output is larger than the clean crop."""

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return super().loss(nn.functional.adaptive_avg_pool2d(restored, clean.shape[-1]), clean)


def _trainer() -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", RECIPE, seed=0)


def _budget(network: nn.Module, ratio: float = 0.5) -> Budget:
    return Budget(int(ratio * peak_memory(network, SHAPE)), SHAPE)


def _count_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("ratio", [0.3, 0.55, 0.8])
def test_widths_and_parameters_are_those_of_uniform_and_one_grid_step_more_breaks_the_budget(
    ratio: float,
) -> None:
    network = unet(8)
    budget = _budget(network, ratio)
    analysis = analyse_network(network, _budget(network, ratio))
    pruned = ASSL(epochs=1).prune(network, budget, _trainer())
    uniform = Uniform().prune(network, budget)
    assert _count_weights(pruned.model) == _count_weights(uniform.model)
    widths = {unit: len(kept) for unit, kept in pruned.kept.items()}
    assert widths == {unit: len(kept) for unit, kept in uniform.kept.items()}
    position = len(pruned.kept["encoder.0.c11"])
    assert (
        analysis.peak_model.peak_bytes(scale_widths(analysis, position, 1))
        <= budget.peak_bytes
        < analysis.peak_model.peak_bytes(scale_widths(analysis, position + 1, 1))
    )
    assert count_positions(analysis) == 8


class WatchingTrainer(TaskTrainer):
    """Records the output of the trained network for a probe before surgery, (1, 3, H, W)."""

    probe = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))

    def fit(self, model: nn.Module, *args: object, **options: object) -> int:
        steps = super().fit(model, *args, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            self.output = model.eval()(self.probe)
        return steps


def test_the_longer_the_phases_the_less_surgery_changes() -> None:
    network = build_with_seed(lambda: Residual(8))
    changes = []
    rises = []
    _trainer().fit(network, 150, phase="pretrain")
    for epochs in (5, 20, 80):
        trainer = WatchingTrainer(FakeTask(), "embedded", RECIPE, seed=0)
        method = ASSL(epochs=epochs, penalty=100.0)
        smaller = method.prune(network, _budget(network, 0.6), trainer).model.eval()
        with torch.no_grad():
            change = (smaller(trainer.probe) - trainer.output).abs().max()
        changes.append(float(change / trainer.output.abs().max()))
        rises.append(trainer.loss(smaller) - trainer.loss(network))
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] < 0.05 * changes[0]
    assert rises == sorted(rises, reverse=True)


@pytest.mark.parametrize(
    "name", ["edsr x2", "edsr x4", "srresnet x2", "dncnn", "res-u-net", "nafnet", "ridnet", "hinet"]
)
def test_it_works_on_networks_with_ties_pixel_shuffle_and_normalisations(name: str) -> None:
    network = PUBLIC[name]()
    shape = input_shape(name)
    budget = Budget(int(0.7 * peak_memory(network, shape)), shape)
    trainer = TaskTrainer(AnySize(), "embedded", RECIPE, seed=0)
    pruned = ASSL(epochs=2).prune(network, budget, trainer)
    referee(pruned.model, network, budget, "assl")
    assert type(pruned.model) is type(network)
    assert _count_weights(pruned.model) < _count_weights(network)


def test_the_trace_reports_the_phases_and_only_networks_with_ties_align() -> None:
    network = unet(4)
    tied = FakeTask().build("residual")
    pruned = ASSL(epochs=10).prune(network, _budget(network), _trainer())
    phases = [step.note.split(":")[0] for step in pruned.trace]
    assert phases == ["grown", "stabilised", "removed"]
    pruned = ASSL(epochs=10).prune(tied, _budget(tied, 0.7), _trainer())
    phases = [step.note.split(":")[0] for step in pruned.trace]
    assert phases == ["aligned", "grown", "stabilised", "removed"]
    assert [step.peak_bytes for step in pruned.trace[:-1]] == [peak_memory(tied, SHAPE)] * 3
    assert pruned.trace[-1].peak_bytes == peak_memory(pruned.model, SHAPE)


def test_another_criterion_chooses_the_channels_of_all_units_before_the_training() -> None:
    tied = FakeTask().build("residual")
    budget = _budget(tied, 0.7)
    analysis = analyse_network(tied, budget)
    scores = score_channels("gradient", tied, analysis.layout, _trainer())
    pruned = ASSL(epochs=10, importance="gradient").prune(tied, budget, _trainer())
    widths = {unit: len(kept) for unit, kept in pruned.kept.items()}
    assert "head" in widths
    assert pruned.kept == analysis.select_kept(scores, widths)
    assert [step.note.split(":")[0] for step in pruned.trace] == ["grown", "stabilised", "removed"]


def test_all_steps_are_metered_and_forecast() -> None:
    network = unet(4)
    trainer = _trainer()
    ASSL(epochs=3).prune(network, _budget(network), trainer)
    assert trainer.meter.steps == {"search": 3 * RECIPE.steps_per_epoch}
    steps = 3 * RECIPE.steps_per_epoch + RECIPE.finetune_steps
    assert ASSL(epochs=3).expected_steps(RECIPE) == steps
    assert ASSL(epochs=3).expected_steps(replace(RECIPE, matched_steps=50)) == 50


def test_the_same_seed_gives_the_same_network_and_the_passed_one_is_untouched() -> None:
    network = FakeTask().build("residual")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first, second = (
        ASSL(epochs=4).prune(network, _budget(network, 0.7), _trainer()) for _ in range(2)
    )
    assert first.kept == second.kept
    weights = second.model.state_dict()
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_at_the_full_budget_nothing_is_trained() -> None:
    network = unet(4)
    trainer = _trainer()
    pruned: Pruned = ASSL().prune(network, _budget(network, 1.0), trainer)
    assert not pruned.kept
    assert not trainer.meter.steps


def test_impossible_budgets_and_options_are_refused() -> None:
    with pytest.raises(Infeasible, match="the least is"):
        ASSL().prune(unet(), Budget(1000, SHAPE), _trainer())
    with pytest.raises(ConfigError, match="interval"):
        ASSL(interval=0)


class Stem(nn.Module):
    """All its channels are tied."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        tail: Tensor = self.tail(y + self.body(y))
        return tail


def test_a_budget_does_not_take_over_the_training_of_another_where_all_layers_are_tied(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    network = Stem()
    trainer = TaskTrainer(
        FakeTask(), "embedded", RECIPE, seed=0, checkpoints=Checkpoints(tmp_path, every_seconds=0)
    )
    budgets = [_budget(network, 0.8), _budget(network, 0.5)]
    for budget, outcome in ASSL(epochs=5).sweep(network, budgets, trainer):
        assert isinstance(outcome, Pruned)
        assert peak_memory(outcome.model, SHAPE) <= budget.peak_bytes

"""The criteria of Torch-Pruning as a method: kept channels, budgets, networks, metering."""

from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Budget, Method
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.runner.referee import referee
from bench.surgery.analysis import analyse_network
from bench.surgery.torch_pruning_importance import (
    GRADIENT_CRITERIA,
    LibraryCriterion,
    library_scores,
)
from bench.surgery.width_search import scale_widths
from bench.training.trainer import TaskTrainer
from methods.torch_pruning import TorchPruning
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import PUBLIC, build_with_seed, input_shape
from tests.networks.small import SHAPE, Grouped, Residual, Shuffled, network_layout, unet

every_importance = pytest.mark.parametrize("importance", get_args(LibraryCriterion))
NETWORKS: dict[str, Callable[[], nn.Module]] = {"unet": unet} | {
    make.__name__: partial(build_with_seed, make) for make in (Residual, Shuffled, Grouped)
}
NETWORKS |= {"edsr x2": PUBLIC["edsr x2"]}
SLOW_NETWORKS = {name: PUBLIC[name] for name in ("srresnet x2", "dncnn", "res-u-net", "nafnet")}
KINDS = [(name, importance) for name in NETWORKS for importance in get_args(LibraryCriterion)] + [
    (name, importance) for name in SLOW_NETWORKS for importance in ("fpgm", "hessian")
]


class AnySize(FakeTask):
    """For networks whose output is larger than the clean crop, or that have several."""

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return super().loss(nn.functional.adaptive_avg_pool2d(restored, clean.shape[-1]), clean)


def _trainer(seed: int = 0) -> TaskTrainer:
    return TaskTrainer(AnySize(), "embedded", RECIPE, seed=seed)


def _budget(network: nn.Module, ratio: float = 0.5, name: str = "unet") -> Budget:
    return Budget(int(ratio * peak_memory(network, input_shape(name))), input_shape(name))


@pytest.mark.parametrize(("name", "importance"), KINDS)
def test_it_works_on_every_kind_of_network(name: str, importance: LibraryCriterion) -> None:
    network = (NETWORKS | SLOW_NETWORKS)[name]()
    budget = _budget(network, 0.7, name)
    for ranking in ("uniform", "global"):
        pruned = TorchPruning(importance, ranking).prune(network, budget, _trainer())
        referee(pruned.model, network, budget, "torch_pruning")
        assert pruned.kept


@every_importance
def test_one_quantum_more_breaks_the_budget(importance: LibraryCriterion) -> None:
    network = unet(8)
    trainer = _trainer()
    budget = _budget(network, 0.4)
    analysis = analyse_network(network, budget)
    uniform, ranked = (
        TorchPruning(importance, ranking).prune(network, budget, trainer).kept
        for ranking in ("uniform", "global")
    )
    position = len(uniform["encoder.0.c11"])
    assert (
        analysis.peak_model.peak_bytes(scale_widths(analysis, position, 1))
        <= budget.peak_bytes
        < analysis.peak_model.peak_bytes(scale_widths(analysis, position + 1, 1))
    )
    scores = library_scores(
        network, analysis.layout, importance, trainer.seed, trainer.calibration, trainer.criterion
    )
    gone = {
        (float(scores[unit][channel]), unit)
        for unit, kept in ranked.items()
        for channel in set(range(analysis.widths[unit])) - set(kept)
    }
    widths = analysis.widths | {unit: len(kept) for unit, kept in ranked.items()}
    last = max(gone)[1]
    assert (
        analysis.peak_model.peak_bytes(widths)
        <= budget.peak_bytes
        < analysis.peak_model.peak_bytes(widths | {last: widths[last] + 1})
    )


@every_importance
def test_the_channels_with_the_largest_scores_stay(importance: LibraryCriterion) -> None:
    network = unet(8)
    trainer = _trainer()
    kept = TorchPruning(importance).prune(network, _budget(network), trainer).kept
    scores = library_scores(
        network,
        network_layout(network),
        importance,
        trainer.seed,
        trainer.calibration,
        trainer.criterion,
    )
    for unit, indices in kept.items():
        assert set(indices) == set(scores[unit].topk(len(indices)).indices.tolist())


def test_what_magnitude_keeps_is_not_what_chance_keeps_and_a_strong_channel_survives() -> None:
    network = unet(8)
    with torch.no_grad():
        network.encoder[0].c11.weight[3] *= 10
        network.encoder[0].c11.weight[5] *= 0.1
    cuts = [
        TorchPruning(name).prune(network, _budget(network), _trainer(seed)).kept
        for name, seed in (("magnitude", 0), ("random", 0), ("random", 1))
    ]
    assert 3 in cuts[0]["encoder.0.c11"]
    assert 5 not in cuts[0]["encoder.0.c11"]
    assert all(len(cut[unit]) == len(cuts[0][unit]) for cut in cuts for unit in cuts[0])
    assert cuts[0] != cuts[1] != cuts[2] != cuts[0]


def test_gradients_hurt_the_trained_network_less_than_chance() -> None:
    network = build_with_seed(lambda: Residual(12))
    _trainer().fit(network, 150, phase="pretrain")
    budget = _budget(network, 0.7)

    def loss(importance: LibraryCriterion, seed: int = 0) -> float:
        pruned = TorchPruning(importance).prune(network, budget, _trainer(seed))
        return _trainer().loss(pruned.model)

    chance = fmean(loss("random", seed) for seed in range(5))
    for importance in GRADIENT_CRITERIA:
        assert loss(importance) < chance


@every_importance
def test_a_budget_alone_gets_the_network_that_it_gets_in_a_sweep(
    importance: LibraryCriterion,
) -> None:
    network = build_with_seed(Residual)
    method: Method = TorchPruning(importance, "global")
    budgets = [_budget(network, ratio) for ratio in (0.6, 0.9)]
    for budget, expected in method.sweep(network, budgets, _trainer()):
        alone = method.prune(network, budget, _trainer())
        assert alone.kept == expected.kept
        pairs = zip(alone.model.parameters(), expected.model.parameters(), strict=True)
        assert all(torch.equal(weight, other) for weight, other in pairs)
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize(
    ("importance", "passes"), [("magnitude", 0), ("taylor", 2), ("hessian", 4)]
)
def test_every_forward_pass_is_counted_once(importance: LibraryCriterion, passes: int) -> None:
    network = unet()
    budgets = [_budget(network, ratio) for ratio in (0.5, 0.8)]

    def count_passes(criterion: LibraryCriterion) -> int:
        trainer = _trainer()
        with trainer.count_calls(network):
            list(TorchPruning(criterion).sweep(network, budgets, trainer))
        return trainer.meter.forward_passes

    assert count_passes(importance) - count_passes("random") == passes


def test_without_data_only_the_criteria_that_need_none_work() -> None:
    network = unet()
    assert TorchPruning().prune(network, _budget(network)).kept
    with pytest.raises(ConfigError, match=r"needs data .*trainer\.calibration"):
        TorchPruning("taylor").prune(network, _budget(network))
    with pytest.raises(Infeasible, match="the least is"):
        TorchPruning().prune(network, Budget(1000, SHAPE))

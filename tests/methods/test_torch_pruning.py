"""The criteria of Torch-Pruning as a method: what stays, the budget, all kinds of networks, what is metered."""

from collections.abc import Callable
from functools import partial
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Budget, Method
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.runner.referee import referee
from bench.surgery.analysis import analyze_network
from bench.surgery.torch_pruning_importance import FROM_GRADIENTS, Library, library_scores
from bench.surgery.width_search import scaled
from bench.training.trainer import TaskTrainer
from methods.torch_pruning import TorchPruning
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import PUBLIC, seeded, shape_of
from tests.networks.small import SHAPE, Grouped, Residual, Shuffled, layout_of, unet

every_importance = pytest.mark.parametrize("importance", get_args(Library))
NETWORKS: dict[str, Callable[[], nn.Module]] = {"unet": unet} | {
    make.__name__: partial(seeded, make) for make in (Residual, Shuffled, Grouped)
}
NETWORKS |= {"edsr x2": PUBLIC["edsr x2"]}
DEAR = {name: PUBLIC[name] for name in ("srresnet x2", "dncnn", "res-u-net", "nafnet")}
KINDS = [(name, importance) for name in NETWORKS for importance in get_args(Library)] + [
    (name, importance) for name in DEAR for importance in ("fpgm", "hessian")
]


class AnySize(FakeTask):
    """For networks whose output is larger than the clean crop, or that have several."""

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return super().loss(nn.functional.adaptive_avg_pool2d(restored, clean.shape[-1]), clean)


def _trainer(seed: int = 0) -> TaskTrainer:
    return TaskTrainer(AnySize(), "embedded", RECIPE, seed=seed)


def _budget(network: nn.Module, ratio: float = 0.5, name: str = "unet") -> Budget:
    return Budget(int(ratio * peak_memory(network, shape_of(name))), shape_of(name))


@pytest.mark.parametrize(("name", "importance"), KINDS)
def test_it_works_on_every_kind_of_network(name: str, importance: Library) -> None:
    network = (NETWORKS | DEAR)[name]()
    budget = _budget(network, 0.7, name)
    for ranking in ("uniform", "global"):
        pruned = TorchPruning(importance, ranking).prune(network, budget, _trainer())
        referee(pruned.model, network, budget, "torch_pruning")
        assert pruned.kept


@every_importance
def test_one_quantum_more_breaks_the_budget(importance: Library) -> None:
    network, trainer = unet(8), _trainer()
    budget = _budget(network, 0.4)
    body = analyze_network(network, budget)
    uniform, one_list = (
        TorchPruning(importance, ranking).prune(network, budget, trainer).kept
        for ranking in ("uniform", "global")
    )
    position = len(uniform["encoder.0.c11"])
    assert (
        body.peaks.peak_bytes(scaled(body, position, 1))
        <= budget.peak_bytes
        < body.peaks.peak_bytes(scaled(body, position + 1, 1))
    )
    scores = library_scores(
        network, body.layout, importance, trainer.seed, trainer.calibration, trainer.criterion
    )
    gone = {
        (float(scores[unit][one]), unit)
        for unit, kept in one_list.items()
        for one in set(range(body.widths[unit])) - set(kept)
    }
    widths, last = body.widths | {unit: len(kept) for unit, kept in one_list.items()}, max(gone)[1]
    assert (
        body.peaks.peak_bytes(widths)
        <= budget.peak_bytes
        < body.peaks.peak_bytes(widths | {last: widths[last] + 1})
    )


@every_importance
def test_the_channels_with_the_largest_scores_stay(importance: Library) -> None:
    network, trainer = unet(8), _trainer()
    kept = TorchPruning(importance).prune(network, _budget(network), trainer).kept
    scores = library_scores(
        network,
        layout_of(network),
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
    assert all(len(one[unit]) == len(cuts[0][unit]) for one in cuts for unit in cuts[0])
    assert cuts[0] != cuts[1] != cuts[2] != cuts[0]


def test_gradients_hurt_the_trained_network_less_than_chance() -> None:
    network = seeded(lambda: Residual(12))
    _trainer().fit(network, 150, phase="pretrain")
    losses = {
        name: _trainer().loss(
            TorchPruning(name).prune(network, _budget(network, 0.7), _trainer()).model
        )
        for name in get_args(Library)
    }
    chance = [
        _trainer().loss(
            TorchPruning("random").prune(network, _budget(network, 0.7), _trainer(seed)).model
        )
        for seed in range(5)
    ]
    for importance in FROM_GRADIENTS:
        assert losses[importance] < sum(chance) / len(chance)


@every_importance
def test_a_budget_alone_gets_the_network_that_it_gets_in_a_sweep(importance: Library) -> None:
    network = seeded(Residual)
    method: Method = TorchPruning(importance, "global")
    for budget, expected in method.sweep(
        network, [_budget(network, ratio) for ratio in (0.6, 0.9)], _trainer()
    ):
        alone = method.prune(network, budget, _trainer())
        assert alone.kept == expected.kept
        assert all(
            torch.equal(one, other)
            for one, other in zip(
                alone.model.parameters(), expected.model.parameters(), strict=True
            )
        )
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize(
    ("importance", "passes"), [("magnitude", 0), ("taylor", 2), ("hessian", 4)]
)
def test_every_forward_pass_is_counted_once(importance: Library, passes: int) -> None:
    network, trainer = unet(), _trainer()
    with trainer.count_calls(network):
        list(
            TorchPruning(importance).sweep(
                network, [_budget(network, ratio) for ratio in (0.5, 0.8)], trainer
            )
        )
    surgeries = trainer.meter.forward_passes
    baseline = _trainer()
    with baseline.count_calls(network):
        list(
            TorchPruning("random").sweep(
                network, [_budget(network, ratio) for ratio in (0.5, 0.8)], baseline
            )
        )
    assert surgeries - baseline.meter.forward_passes == passes


def test_without_data_only_the_criteria_that_need_none_work() -> None:
    network = unet()
    assert TorchPruning().prune(network, _budget(network)).kept
    with pytest.raises(ConfigError, match=r"needs data .*trainer\.calibration"):
        TorchPruning("taylor").prune(network, _budget(network))
    with pytest.raises(Infeasible, match="the least is"):
        TorchPruning().prune(network, Budget(1000, SHAPE))

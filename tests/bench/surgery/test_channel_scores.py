"""Criteria by name: which ones need data, what they cost, and what rescaling does to them."""

from typing import get_args

import pytest
import torch
from torch import nn

from bench.contract import NO_TRAINER
from bench.errors import ConfigError
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.compactors import insert_compactors, long_skips
from bench.surgery.importance import (
    ChannelScores,
    activation_scores,
    channel_norms,
    gate_gradients,
    normalised_norms,
    random_scores,
)
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, FakeTask
from tests.networks.public import build_with_seed
from tests.networks.rescaled import rescale_units
from tests.networks.small import SHAPE, Residual, network_layout, unet

WITHOUT_DATA = ("l1", "l2", "normalised_l2", "random")
every_importance = pytest.mark.parametrize("importance", get_args(Importance))


def _trainer(seed: int = 0) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", RECIPE, seed)


def _score(importance: Importance, network: nn.Module) -> ChannelScores:
    return score_channels(importance, network, network_layout(network), _trainer())


def test_each_name_is_the_function_that_it_names() -> None:
    network = build_with_seed(Residual)
    layout = network_layout(network)
    trainer = _trainer()
    batches, criterion = trainer.calibration, trainer.criterion
    expected: dict[Importance, ChannelScores] = {
        "l1": channel_norms(network, layout, 1),
        "l2": channel_norms(network, layout),
        "normalised_l2": normalised_norms(network, layout),
        "gradient": gate_gradients(network, layout, batches, criterion),
        "fisher": gate_gradients(network, layout, batches, criterion, 2),
        "activation": activation_scores(network, layout, batches),
        "random": random_scores(layout, trainer.seed),
    }
    assert {*expected, "taylor"} == set(get_args(Importance))
    for importance, scores in expected.items():
        torch.testing.assert_close(_score(importance, network), scores, rtol=0, atol=0)


def test_taylor_is_the_sum_over_weights_mean_over_layers_and_compares_units() -> None:
    network = unet()
    trainer = _trainer()
    layers = [network.encoder[0].c11, network.encoder[0].c12, network.encoder[1].c21]
    weights = [layer.weight for layer in layers]
    loss = sum(trainer.criterion(network(x), clean) * len(x) for x, clean in trainer.calibration)
    gradients = torch.autograd.grad(loss / RECIPE.calibration_crops, weights)
    products = [(w * g).abs().detach() for w, g in zip(weights, gradients, strict=True)]
    made, read = products[0].sum((1, 2, 3)), products[1].sum((0, 2, 3))
    scores = _score("taylor", network)
    torch.testing.assert_close(scores["encoder.0.c11"], (made + read) / 2, rtol=1e-4, atol=0)
    assert scores["encoder.0.c11"].mean() > 1.01 * scores["encoder.3.c41"].mean()


@every_importance
def test_only_criteria_that_use_data_ask_for_them(importance: Importance) -> None:
    network = unet()
    layout = network_layout(network)
    if importance in WITHOUT_DATA:
        scores = score_channels(importance, network, layout, NO_TRAINER)
        assert {unit: len(row) for unit, row in scores.items()} == layout.widths
    else:
        with pytest.raises(ConfigError, match="needs data"):
            score_channels(importance, network, layout, NO_TRAINER)


@every_importance
def test_forward_passes_are_counted_also_where_compactors_were_put_in(
    importance: Importance,
) -> None:
    network = insert_compactors(unet(4), long_skips(unet(4), SHAPE), SHAPE)
    trainer = _trainer()
    score_channels(importance, network, network_layout(network), trainer)
    passes = 0 if importance in WITHOUT_DATA else len(trainer.calibration)
    assert trainer.meter.forward_passes == passes


@every_importance
def test_the_network_keeps_its_mode_and_gets_no_gradients_and_no_hooks(
    importance: Importance,
) -> None:
    network = unet().train()
    network.encoder[0].eval()
    _score(importance, network)
    assert network.training and not network.encoder[0].training
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())


@pytest.mark.parametrize("importance", ["gradient", "fisher", "taylor", "normalised_l2"])
def test_rescaling_single_channels_changes_norms_and_nothing_that_multiplies_by_a_gradient(
    importance: Importance,
) -> None:
    network = unet()
    rescaled = unet()
    factors = {"encoder.0.c12": torch.tensor([10.0, 0.1, 1.0, 2.0])}
    rescale_units(rescaled, network_layout(network), factors)
    before, after = (_score(importance, net)["encoder.0.c12"] for net in (network, rescaled))
    same = torch.allclose(after, before, rtol=1e-3)
    assert same == (importance != "normalised_l2")


def test_the_seed_decides_random_scores() -> None:
    network = unet()
    layout = network_layout(network)
    first, again, other = (
        score_channels("random", network, layout, _trainer(seed))["up.u1"] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

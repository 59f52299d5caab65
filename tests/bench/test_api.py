"""Pruning a network from Python: the numbers are those of a study; the network is not changed."""

import doctest
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

import bench.api
from bench.api import Result, prune
from bench.contract import NO_TRAINER, Budget, Method, Pruned, Trainer
from bench.errors import ConfigError, Infeasible, PluginError
from bench.export import saved
from bench.runner.executors.serial import SerialExecutor
from bench.runner.run import run_study
from bench.surgery.remove import remove_channels
from tasks.denoising import Denoising
from tests.fakes import FakeTask, Tiny, tiny_peak_bytes
from tests.networks.shaped import Transposed

SHAPE = (1, 3, 32, 32)
NETWORK_FILE = """
import torch
from tests.fakes import Tiny


def build():
    torch.manual_seed(5)
    return Tiny(8)
"""


@dataclass(frozen=True)
class Halves(Method):
    """A user's own method, which is not registered; it keeps four channels.

    Args:
        claimed: the number of channels that it claims to keep.
    """

    paper: ClassVar[str] = "none"
    claimed: int = 4

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        smaller = remove_channels(model, {"first": list(range(4))}, budget.input_shape)
        return Pruned(smaller, kept={"first": list(range(self.claimed))})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(5)
    return Tiny(8)


def prune_on_fake_task(
    network: nn.Module, method: str | Method = "narrow", budget: Any = 0.5, **options: Any
) -> Result:
    return prune(network, method, budget, **({"task": "fake"} | options))


def test_the_example_of_the_module_runs() -> None:
    results = doctest.testmod(bench.api)
    assert results.attempted > 0 and results.failed == 0


def test_the_result_is_finished_and_measured_and_the_network_is_left_alone(
    network: nn.Module,
) -> None:
    before = deepcopy(network.state_dict())
    draws = torch.get_rng_state()
    result = prune_on_fake_task(network.train())
    assert result.peak_bytes == tiny_peak_bytes(2, SHAPE)
    assert result.unpruned_peak_bytes == tiny_peak_bytes(8, SHAPE)
    assert result.budget == Budget(tiny_peak_bytes(8, SHAPE) // 2, SHAPE)
    assert result.kept == {"first": [0, 1]}
    assert result.steps == {"finetune": 4}
    assert result.parameters == sum(weight.numel() for weight in result.model.parameters())
    assert set(result.scores) == set(result.unpruned_scores) == {"psnr_db", "ssim"}
    assert not result.model.training
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(before[name], value)
    assert torch.equal(torch.get_rng_state(), draws)


def test_it_gives_the_numbers_that_a_study_gives(
    network: nn.Module, study: Callable, store, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NETWORK_FILE)
    same_study = study(
        f"backbones=['{tmp_path}/net.py:build']",
        "methods=['unpruned', {method='narrow', train_steps=2}]",
        "ratios=[0.5]",
        "recipe.pretrain_steps=0",
    )
    unpruned, pruned = run_study(same_study, store, SerialExecutor())
    result = prune_on_fake_task(network, options={"train_steps": 2}, recipe={"pretrain_steps": 0})
    assert (result.scores, result.unpruned_scores) == (pruned.means, unpruned.means)
    assert (result.steps, result.kept) == (pruned.steps, pruned.kept)
    assert result.peak_bytes == pruned.peak_bytes


@pytest.mark.parametrize(
    ("budget", "width"),
    [
        (tiny_peak_bytes(5, SHAPE), 5),
        (1.0, 8),
        (Budget(tiny_peak_bytes(3, SHAPE), SHAPE, "eager"), 3),
    ],
)
def test_a_budget_is_a_ratio_or_bytes_or_a_budget(
    budget: Any, width: int, network: nn.Module
) -> None:
    assert prune_on_fake_task(network, budget=budget).model.first.out_channels == width


class ReadsFromStars(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 3, 1)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.only(inputs[0])


def test_a_method_and_a_task_may_be_instances(network: nn.Module) -> None:
    shape = (1, 3, 16, 16)
    result = prune_on_fake_task(
        network,
        Halves(),
        0.7,
        task=FakeTask(noise=0.2),
        recipe={"finetune_steps": 1},
        measured_at=shape,
    )
    assert result.peak_bytes == tiny_peak_bytes(4, shape)
    assert result.kept == {"first": [0, 1, 2, 3]} and result.steps == {"finetune": 1}


def test_a_method_that_breaks_its_promise_is_named(network: nn.Module) -> None:
    with pytest.raises(PluginError, match="Halves missed its budget"):
        prune_on_fake_task(network, Halves(), 0.3)
    with pytest.raises(PluginError, match="is not the backbone with these kept channels"):
        prune_on_fake_task(network, Halves(claimed=3), 0.7)
    with pytest.raises(Infeasible):
        prune_on_fake_task(network, budget=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 1.5}, r"ratio 1\.5 is outside \(0, 1\]; give bytes as a whole number"),
        ({"budget": "0.5"}, r"a budget of '0\.5'; give a share of the peak \(float\), bytes"),
        (
            {"budget": Budget(10**4, SHAPE, channel_multiple=2), "recipe": {"channel_multiple": 4}},
            "the budget has channel_multiple = 2, the recipe 4; give one of them",
        ),
        ({"measured_at": (3, 32, 32)}, r"shape \(3, 32, 32\) is not \(N, C, H, W\), four positive"),
        ({"budget": 10**9}, r"a budget of 1000000000 bytes is outside \(0, 45056\]"),
        ({"method": "narow"}, "did you mean 'narrow'"),
        (
            {"method": Halves(), "options": {"claimed": 3}},
            "options claimed belong to a method given by name",
        ),
        ({"task": "fakes"}, "did you mean 'fake'"),
        ({"recipe": {"finetune_step": 3}}, "did you mean 'finetune_steps'"),
        ({"device": "tpu"}, "device 'tpu' is not available"),
        (
            {"network": nn.Conv2d(3, 4, 1)},
            "Conv2d gives 2x4x16x16 for an input of 2x3x16x16; task fake wants 2x3x16x16",
        ),
        (
            {"network": ReadsFromStars(), "budget": Budget(10**4, SHAPE)},
            r"the forward of ReadsFromStars reads its inputs from \*inputs; give each input a name",
        ),
    ],
)
def test_an_argument_that_cannot_be_used_gives_a_message_of_one_line(
    arguments: Mapping[str, Any], message: str, network: nn.Module
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        prune_on_fake_task(**({"network": network} | dict(arguments)))
    assert "\n" not in str(raised.value)


def test_a_result_is_saved_and_loaded_without_its_class(network: nn.Module, tmp_path: Path) -> None:
    result = prune_on_fake_task(network)
    photo = torch.rand(SHAPE)
    bench.api.save(result, tmp_path / "small")
    with torch.inference_mode():
        assert torch.equal(saved.load(tmp_path / "small")(photo), result.model(photo))


QUICK = {"patch": 32, "batch": 2, "pretrain_steps": 0, "adapt_steps": 2, "finetune_steps": 4}


@pytest.mark.parametrize("method", ["uniform", "global_l2", "mosp"])
def test_a_network_with_attention_is_pruned_saved_and_loaded(method: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = Transposed().eval()
    recipe = QUICK | {"matched_steps": 8}
    result = prune(network, method, 0.6, measured_at=SHAPE, recipe=recipe)
    assert result.peak_bytes <= 0.6 * result.unpruned_peak_bytes
    assert "qkv" in result.kept or "head" in result.kept
    bench.api.save(result, tmp_path / "small")
    photo = torch.rand(1, 3, 48, 40)
    with torch.inference_mode():
        assert torch.equal(saved.load(tmp_path / "small")(photo), result.model(photo))
        assert network(photo).shape == photo.shape


class Thirds(nn.Sequential):
    """A network that works on a third of the resolution."""

    def __init__(self) -> None:
        first, last = nn.Conv2d(27, 32, 3, padding=1), nn.Conv2d(32, 27, 3, padding=1)
        super().__init__(nn.PixelUnshuffle(3), first, nn.ReLU(), last, nn.PixelShuffle(3))


def test_a_network_that_accepts_no_image_of_64_pixels_is_pruned() -> None:
    task, recipe = Denoising(pad_to_multiple=3), {"patch": 48, "batch": 2, "finetune_steps": 1}
    shape = (1, 3, 96, 96)
    result = prune(Thirds(), "uniform", 0.5, task=task, measured_at=shape, recipe=recipe)
    assert result.peak_bytes <= 0.5 * result.unpruned_peak_bytes


def test_a_recipe_may_ask_for_multiples_of_channels(network: nn.Module) -> None:
    share = 0.8
    budget = Budget(int(share * tiny_peak_bytes(8, SHAPE)), SHAPE)
    kept = [
        prune_on_fake_task(network, "uniform", given, recipe={"channel_multiple": multiple}).kept
        for multiple in (1, 4)
        for given in (share, budget, replace(budget, channel_multiple=multiple))
    ]
    assert [len(each["first"]) for each in kept] == [5, 5, 5, 4, 4, 4]


def test_a_method_that_passes_over_the_blocks_is_told_how_to_number_them(
    network: nn.Module,
) -> None:
    with pytest.raises(PluginError, match=r"blocks \[0, 1, 2, 3\] of 'first', which has 2 of 4"):
        prune_on_fake_task(network, Halves(), 0.9, recipe={"channel_multiple": 4})

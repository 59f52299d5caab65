"""Networks that are pruned from Python: the same numbers as in a study, and the network that was given is left as it was."""

import doctest
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
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
from bench.runner.executors.serial import Serial
from bench.runner.run import run_study
from bench.surgery.remove import remove_channels
from tests.fakes import FakeTask, Tiny, tiny_peak_bytes

SHAPE = (1, 3, 32, 32)
NET = "import torch\nfrom tests.fakes import Tiny\n\n\ndef build():\n    torch.manual_seed(5)\n    return Tiny(8)\n"


@dataclass(frozen=True)
class Halves(Method):
    """A method of the user's own, which is not registered.

    Args:
        says: how many channels it says that it keeps; it keeps four.
    """

    paper: ClassVar[str] = "none"
    says: int = 4

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        smaller = remove_channels(model, {"first": list(range(4))}, budget.input_shape)
        return Pruned(smaller, kept={"first": list(range(self.says))})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(5)
    return Tiny(8)


def of_fake(
    network: nn.Module, method: str | Method = "narrow", budget: Any = 0.5, **given: Any
) -> Result:
    return prune(network, method, budget, **({"task": "fake"} | given))


def test_the_example_of_the_module_runs() -> None:
    done = doctest.testmod(bench.api)
    assert done.attempted > 0 and done.failed == 0


def test_the_result_is_finished_and_measured_and_the_network_is_left_alone(
    network: nn.Module,
) -> None:
    before, drawn = deepcopy(network.state_dict()), torch.get_rng_state()
    result = of_fake(network.train())
    assert (result.peak_bytes, result.unpruned_peak_bytes) == (
        tiny_peak_bytes(2, SHAPE),
        tiny_peak_bytes(8, SHAPE),
    )
    assert result.budget == Budget(tiny_peak_bytes(8, SHAPE) // 2, SHAPE) and result.kept == {
        "first": [0, 1]
    }
    assert result.steps == {"finetune": 4} and result.parameters == sum(
        weight.numel() for weight in result.model.parameters()
    )
    assert (
        set(result.scores) == set(result.unpruned_scores) == {"psnr_db", "ssim"}
        and not result.model.training
    )
    assert network.training and all(
        torch.equal(before[name], value) for name, value in network.state_dict().items()
    )
    assert torch.equal(torch.get_rng_state(), drawn)


def test_it_gives_the_numbers_that_a_study_gives(
    network: nn.Module, study: Callable, store, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NET)
    rows = "methods=['unpruned', {method='narrow', train_steps=2}]"
    records = run_study(
        study(
            f"backbones=['{tmp_path}/net.py:build']",
            rows,
            "ratios=[0.5]",
            "recipe.pretrain_steps=0",
        ),
        store,
        Serial(),
    )
    result = of_fake(network, options={"train_steps": 2}, recipe={"pretrain_steps": 0})
    assert (result.scores, result.unpruned_scores) == (records[1].means, records[0].means)
    assert (result.steps, result.kept, result.peak_bytes) == (
        records[1].steps,
        records[1].kept,
        records[1].peak_bytes,
    )


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
    assert of_fake(network, budget=budget).model.first.out_channels == width


def test_a_method_and_a_task_may_be_instances(network: nn.Module) -> None:
    result = of_fake(
        network,
        Halves(),
        0.7,
        task=FakeTask(noise=0.2),
        recipe={"finetune_steps": 1},
        measured_at=(1, 3, 16, 16),
    )
    assert (result.peak_bytes, result.kept, result.steps) == (
        tiny_peak_bytes(4, (1, 3, 16, 16)),
        {"first": [0, 1, 2, 3]},
        {"finetune": 1},
    )


def test_a_method_that_breaks_its_promise_is_named(network: nn.Module) -> None:
    with pytest.raises(PluginError, match="Halves missed its budget"):
        of_fake(network, Halves(), 0.3)
    with pytest.raises(PluginError, match="is not the backbone with these kept channels"):
        of_fake(network, Halves(says=3), 0.7)
    with pytest.raises(Infeasible):
        of_fake(network, budget=1)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"budget": 1.5}, r"ratio 1\.5 is outside \(0, 1\]; give bytes as a whole number"),
        ({"budget": 10**9}, r"a budget of 1000000000 bytes is outside \(0, 45056\]"),
        ({"method": "narow"}, "did you mean 'narrow'"),
        (
            {"method": Halves(), "options": {"says": 3}},
            "options says are for a method that is named",
        ),
        ({"task": "fakes"}, "did you mean 'fake'"),
        ({"recipe": {"finetune_step": 3}}, "did you mean 'finetune_steps'"),
        ({"device": "tpu"}, "device 'tpu' is not available"),
        (
            {"network": nn.Conv2d(3, 4, 1)},
            "Conv2d gives 2x4x16x16 for an input of 2x3x16x16; task fake wants 2x3x16x16",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(
    given: Mapping[str, Any], answer: str, network: nn.Module
) -> None:
    with pytest.raises(ConfigError, match=answer) as refused:
        of_fake(**({"network": network} | dict(given)))
    assert "\n" not in str(refused.value)


def test_a_result_is_saved_and_loaded_without_its_class(network: nn.Module, tmp_path: Path) -> None:
    result, photo = of_fake(network), torch.rand(SHAPE)
    bench.api.save(result, tmp_path / "small")
    with torch.inference_mode():
        assert torch.equal(saved.load(tmp_path / "small")(photo), result.model(photo))

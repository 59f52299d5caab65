"""What is scored is what is stored: only what can be rebuilt reaches the table."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.contract import Budget, Pruned
from bench.errors import PluginError
from bench.memory.profile import peak_memory
from bench.runner.method_call import detach_result
from bench.runner.plain_network import (
    check_stored,
    count_stored,
    make_probes,
    measure_pruned_network,
)
from bench.runner.referee import check_peak
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, FakeTask, Tiny, narrow_network

SHAPE = (1, 3, 32, 32)
PROBES = make_probes(FakeTask(), torch.rand(1, 3, 16, 16))


@pytest.fixture
def unpruned() -> Tiny:
    return Tiny(8).eval()


def prune(unpruned: Tiny, **changes: Any) -> Pruned:
    pruned = Pruned(narrow_network(unpruned, 4), kept={"first": [0, 1, 2, 3]})
    return replace(pruned, **changes)


def measure(pruned: Pruned, unpruned: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
    budget = Budget(peak_memory(unpruned, SHAPE), SHAPE)
    return measure_pruned_network(pruned, unpruned, budget, PROBES, method="mine", min_width=1)


def override_forward(model: nn.Module) -> None:
    model.forward = lambda x: x  # type: ignore[method-assign]


def change_slope(model: nn.Module) -> None:
    model.act = nn.LeakyReLU(0.3)


def add_buffer(model: nn.Module) -> None:
    model.register_buffer("cache", torch.zeros(100), persistent=False)


class OtherAbove64(Tiny):
    """Computes something else for large photographs; its class has the name that it should have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + float(x.shape[-1] > 47)


def change_class(model: nn.Module) -> None:
    OtherAbove64.__name__ = "Tiny"
    model.__class__ = OtherAbove64


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (override_forward, "'Tiny' has no forward function of its own"),
        (change_slope, "'act' is ReLU(inplace=True), not LeakyReLU(negative_slope=0.3)"),
        (add_buffer, "it has no buffer cache of shape (100,)"),
        (change_class, "'Tiny' has no forward function of its own"),
    ],
)
def test_what_is_not_stored_is_refused(
    spoil: Callable[[nn.Module], None], words: str, unpruned: Tiny
) -> None:
    pruned = prune(unpruned)
    spoil(pruned.model)
    with pytest.raises(PluginError, match="the network is not what is stored") as error:
        measure(pruned, unpruned)
    assert words in str(error.value)


def test_the_network_that_goes_on_is_another_one_with_the_same_weights(unpruned: Tiny) -> None:
    pruned = prune(unpruned)
    pruned.model.first.weight.requires_grad_(False)
    model, fields = measure(pruned, unpruned)
    assert model is not pruned.model and not model.first.weight.requires_grad
    assert torch.equal(model(PROBES[0]), pruned.model(PROBES[0]))
    assert fields["parameters"] == fields["parameters_stored"] == 4 * 28 + 3 * 37


def test_a_loaded_network_with_another_peak_is_refused(unpruned: Tiny) -> None:
    model, fields = measure(prune(unpruned), unpruned)
    check_stored(model, deepcopy(model), fields, SHAPE, PROBES)
    with pytest.raises(PluginError, match=r"\(planned peak, eager peak, parameters\) are"):
        check_stored(model, deepcopy(model), fields | {"parameters": 7}, SHAPE, PROBES)


@pytest.mark.parametrize("claim", [1, -5, 10**6])
def test_a_number_of_stored_parameters_is_not_believed(claim: int, unpruned: Tiny) -> None:
    with pytest.raises(PluginError, match=f"stored_parameters is {claim}; hand over"):
        count_stored(prune(unpruned, stored_parameters=claim), 223)


def test_stored_parameters_are_counted_on_what_is_handed_over(unpruned: Tiny) -> None:
    trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, 0)
    whole = sum(weight.numel() for weight in unpruned.parameters())
    for stored in (unpruned, unpruned.state_dict()):
        pruned = detach_result(prune(unpruned, stored_parameters=stored), trainer)
        assert count_stored(pruned, 223) == whole
    tiny = detach_result(prune(unpruned, stored_parameters={"scale": torch.ones(1)}), trainer)
    assert count_stored(tiny, 223) == 223, "never fewer than are executed"


@pytest.mark.parametrize("convention", ["planned", "eager"])
def test_a_budget_is_kept_to_the_byte(convention: Any, unpruned: Tiny) -> None:
    peak_bytes = peak_memory(unpruned, SHAPE, convention)
    check_peak(unpruned, Budget(peak_bytes, SHAPE, convention), "mine")
    with pytest.raises(PluginError, match="missed its budget"):
        check_peak(unpruned, Budget(peak_bytes - 1, SHAPE, convention), "mine")

"""Tracing at a shape: code that computes and decides with sizes."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from bench.channels.written_form import write_out
from bench.errors import ConfigError
from bench.graph.lowering import trace
from bench.graph.tracing_at_shape import trace_at_shape
from bench.graph.values import ValueProxy
from tests.networks.shaped import (
    SHAPE,
    SHAPED,
    CountsWindows,
    DecidesOnTheHeight,
    PadsToAWindow,
)


def random_input(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("habit", SHAPED)
def test_a_traced_network_gives_what_the_network_gives(habit: str) -> None:
    network = SHAPED[habit]().eval()
    traced = trace_at_shape(network, (SHAPE,))
    with torch.no_grad():
        assert torch.equal(traced(random_input(*SHAPE)), network(random_input(*SHAPE)))


@pytest.mark.parametrize("habit", [habit for habit in SHAPED if habit != "CountsWindows"])
def test_sizes_stay_symbolic_so_that_another_size_works_too(habit: str) -> None:
    network = SHAPED[habit]().eval()
    traced = trace_at_shape(network, (SHAPE,))
    other = random_input(2, 3, 28, SHAPE[3])
    with torch.no_grad():
        assert torch.equal(traced(other), network(other))


@pytest.mark.parametrize("habit", SHAPED)
def test_the_network_is_as_before(habit: str) -> None:
    network = SHAPED[habit]().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attributes = set(vars(network))
    trace_at_shape(network, (SHAPE,))
    assert network.training and set(vars(network)) == attributes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_decision_about_a_size_refuses_inputs_for_which_it_would_be_another() -> None:
    traced = trace_at_shape(PadsToAWindow().eval(), (SHAPE,))
    with pytest.raises(AssertionError, match=r"decides on the size of its input, shaped.py:\d+"):
        traced(random_input(1, 3, 21, 24))


def test_a_decision_that_changes_nothing_at_an_example_is_dropped() -> None:
    class Precomputes(PadsToAWindow):
        def middle(self, x: Tensor) -> Tensor:
            return x * 2 if x.shape[2] == SHAPE[2] else x + x

    network = Precomputes().eval()
    example = random_input(1, 3, 32, 32)
    traced = write_out(network, SHAPE, [example])
    with torch.no_grad():
        assert torch.allclose(traced(example), network(example))


def test_a_network_that_keeps_a_mask_for_the_size_where_memory_is_counted_works_elsewhere() -> None:
    class KeepsAMask(PadsToAWindow):
        def __init__(self) -> None:
            super().__init__()
            self.mask = nn.Buffer(torch.full(SHAPE[2:], 0.5))

        def middle(self, x: Tensor) -> Tensor:
            h, w = x.shape[2:]
            return x * (self.mask if (h, w) == SHAPE[2:] else torch.full((h, w), 0.5))

    network = KeepsAMask().eval()
    traced = write_out(network, SHAPE, [random_input(1, 3, 28, 24)])
    for shape in (SHAPE, (1, 3, 28, 24)):
        example = random_input(*shape)
        with torch.no_grad():
            assert torch.equal(traced(example), network(example))


def test_a_network_that_is_another_one_at_an_example_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="is another network at 1x3x28x24 than at 1x3x20x24"):
        write_out(DecidesOnTheHeight().eval(), SHAPE, [random_input(1, 3, 28, 24)])


def test_a_decision_about_the_values_of_an_image_is_refused_with_its_line() -> None:
    class Decides(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu() if x.mean() > 0 else x

    with pytest.raises(ConfigError, match=r"test_tracing_at_shape.py:\d+: it decides on the val"):
        trace(Decides(), SHAPE)


def test_a_constant_from_elsewhere_is_refused_with_its_line() -> None:
    class Weighs(PadsToAWindow):
        def middle(self, x: Tensor) -> Tensor:
            return x * torch.from_numpy(np.ones(x.shape[-1], dtype=np.float32))

    with pytest.raises(ConfigError, match=r"test_tracing_at_shape.py:\d+: it creates a constant"):
        trace_at_shape(Weighs(), (SHAPE,))


def test_a_network_that_can_be_traced_plainly_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1))
    assert write_out(network, SHAPE) is network
    assert isinstance(write_out(PadsToAWindow(), SHAPE), GraphModule)


def test_a_traced_network_can_be_trained_and_shares_the_weights_of_the_network() -> None:
    network = SHAPED["Windows"]()
    trace_at_shape(network, (SHAPE,))(random_input(*SHAPE)).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_part_that_is_read_and_then_replaced_can_be_trained() -> None:
    class ReplacesAPart(PadsToAWindow):
        def middle(self, x: Tensor) -> Tensor:
            x[:, :4] = x[:, :4] ** 2
            return x

    network = ReplacesAPart().eval()
    traced = trace_at_shape(network, (SHAPE,))
    example = random_input(*SHAPE)
    output = traced(example)
    output.sum().backward()
    with torch.no_grad():
        assert torch.equal(output, network(example))


def test_shapes_at_which_no_check_fails_are_not_run() -> None:
    network = PadsToAWindow().eval()
    shapes = []
    network.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    write_out(network, SHAPE, shapes=[(1, 3, 24, 32), (1, 3, 40, 24)])
    assert not [shape for shape in shapes if shape[2:] in ((24, 32), (40, 24))]


def test_a_network_that_is_another_one_at_a_further_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="is another network at 1x3x28x24"):
        write_out(CountsWindows().eval(), SHAPE, shapes=[(1, 3, 28, 24)])


def test_einops_handles_stand_ins_as_it_handles_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = SimpleNamespace(_type2backend={}, get_backend=type)
    monkeypatch.setitem(sys.modules, "einops._backends", backends)
    trace_at_shape(PadsToAWindow().eval(), (SHAPE,))
    assert backends._type2backend == {ValueProxy: Tensor}

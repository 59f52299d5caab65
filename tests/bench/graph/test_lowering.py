"""Tracing: names of operators, refusals, and the network stays unchanged."""

from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.graph.lowering import trace
from bench.graph.tracing import trace_module
from bench.memory.profile import count_macs
from tests.networks.habits import HABITS
from tests.networks.small import SHAPE, unet


class _Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


class _Crosses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cross(x, x, dim=1)


def test_operators_carry_the_path_of_their_layer() -> None:
    names = [op.name for op in trace(unet(), SHAPE).ops]
    assert names[:3] == ["encoder.0.c11", "encoder.0.act1", "encoder.0.c12"]
    pools = [name for name in names if name.startswith("pool")]
    assert pools == ["pool", "pool#2", "pool#3", "pool#4"]


def test_an_operator_outside_the_table_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"operator 'cross'.*not known"):
        trace(_Crosses(), SHAPE)


def test_a_decision_that_depends_on_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="_Decides cannot be traced"):
        trace(_Decides(), SHAPE)


def test_a_shape_that_the_network_does_not_accept_is_named() -> None:
    with pytest.raises(ConfigError, match="1x3x40x40"):
        trace(unet(), (1, 3, 40, 40))


def test_readers_of_an_overwritten_value_read_the_result() -> None:
    (reader,) = (op for op in trace(unet(), SHAPE).ops if op.name == "encoder.0.c12")
    assert reader.reads == ("encoder.0.act1",)


def test_macs_agree_with_counting_by_hand() -> None:
    layer = nn.Conv2d(3, 5, 3, padding=1)
    assert count_macs(layer, (1, 3, 8, 8)) == 3 * 5 * 9 * 64
    upsampling = nn.ConvTranspose2d(4, 2, 2, 2)
    assert count_macs(upsampling, (1, 4, 8, 8)) == 4 * 2 * 4 * 64


class _WantsALevel(nn.Module):
    def forward(self, x: Tensor, sigma: Tensor, mask: Tensor | None = None) -> Tensor:
        return x * sigma


def test_an_input_that_has_no_shape_is_named() -> None:
    with pytest.raises(ConfigError, match=r"takes 2 inputs \(x, sigma, mask\), and 1 shapes were"):
        trace(_WantsALevel(), SHAPE)
    assert trace(_WantsALevel(), (SHAPE, SHAPE)).ops[0].name == "mul"


class _Remembers(nn.Module):
    """Assigns attributes and fills a list in its forward function, as published networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.mean = torch.full((1, 3, 1, 1), 0.5)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        self.last = self.conv(x - self.mean)
        self.seen.append(self.last)
        return self.last


@pytest.mark.parametrize("network", [_Remembers(), _Decides()])
def test_what_forward_assigns_while_it_is_traced_is_taken_back(network: nn.Module) -> None:
    before = {name: value for name, value in vars(network).items() if name != "_forward_hooks"}
    with suppress(ConfigError):  # some operators have no row in the table
        trace(network, SHAPE)
    assert {name: vars(network)[name] for name in before} == before
    assert not hasattr(network, "last") and not getattr(network, "seen", [])
    assert isinstance(getattr(network, "mean", torch.ones(1)), torch.Tensor)


class _TakesExtras(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor, *extras: Tensor, **options: Tensor) -> Tensor:
        return self.conv(x)


def test_extras_that_forward_does_not_read_are_no_inputs() -> None:
    network = _TakesExtras()
    assert trace(network, SHAPE).inputs == ("x",)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(trace_module(network)(x), network(x))


def test_tracing_leaves_the_network_as_it_was() -> None:
    network = unet().train()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    trace(network, SHAPE)
    assert network.training
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


def test_a_network_in_training_mode_is_traced_as_it_runs_in_eval_mode() -> None:
    network = HABITS["dropout that asks for the mode"]().train()
    traced = trace_module(network)
    assert network.training and traced.training
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(traced(x), network.eval()(x))

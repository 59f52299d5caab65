"""Networks that are described as JSON and rebuilt from it compute the same, bit for bit."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.channels.written_form import write_out
from bench.errors import ConfigError
from bench.export.bundle import load, save
from bench.export.graph_spec import describe_network, weights_for
from bench.export.rebuild import rebuild_network
from bench.graph.tracing import node_names, trace_module
from bench.surgery.remove import remove_channels
from tests.networks.generated import generate_network
from tests.networks.habits import HABITS
from tests.networks.habits import SHAPE as SMALL
from tests.networks.public import PUBLIC, input_shape, random_inputs
from tests.networks.refused import REFUSED
from tests.networks.small import SHAPE, draw_kept, network_layout, unet
from tests.oracles.tape import tensors

pytestmark = pytest.mark.filterwarnings("ignore:Implicit dimension choice for softmax")
SEEDS = range(0, 200, 5)


def rebuild_from_text(model: nn.Module) -> nn.Module:
    """Describe a network as JSON text and rebuild it from the text."""
    text = json.dumps(describe_network(model), allow_nan=False)
    return rebuild_network(json.loads(text), weights_for(model))


@torch.no_grad()
def assert_same(model: nn.Module, twin: nn.Module, shape: tuple) -> None:
    expected, actual = (tensors(network(*random_inputs(shape))) for network in (model.eval(), twin))
    assert len(expected) == len(actual)
    assert all(torch.equal(first, second) for first, second in zip(expected, actual, strict=True))
    assert list(node_names(twin).values()) == list(node_names(trace_module(model)).values())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_network_comes_back_the_same(name: str) -> None:
    assert_same(PUBLIC[name](), rebuild_from_text(PUBLIC[name]()), input_shape(name))


@pytest.mark.parametrize("habit", HABITS)
def test_what_people_write_comes_back_the_same(habit: str) -> None:
    assert_same(HABITS[habit](), rebuild_from_text(HABITS[habit]()), SMALL)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_comes_back_the_same(seed: int) -> None:
    model = generate_network(seed)
    assert_same(model, rebuild_from_text(generate_network(seed)), model.shape)


@pytest.mark.parametrize("name", [name for name, (_, stage) in REFUSED.items() if stage == "prune"])
def test_what_cannot_be_pruned_can_be_described(name: str) -> None:
    model = write_out(REFUSED[name][0]().eval(), (1, 3, 16, 16))
    assert_same(model, rebuild_from_text(model), (1, 3, 16, 16))


@pytest.mark.parametrize("name", [name for name, (_, stage) in REFUSED.items() if stage == "trace"])
def test_what_cannot_be_traced_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be traced|not allowed|not in the table"):
        describe_network(REFUSED[name][0]())


def test_a_layer_whose_arguments_are_numpy_integers_comes_back_the_same() -> None:
    three = np.int64(3)
    model = nn.Sequential(nn.Conv2d(three, three, three, padding=three // 2), nn.ReLU())
    assert_same(model, rebuild_from_text(model), SHAPE)


def test_a_pruned_u_net_with_compactors_comes_back_from_a_folder(tmp_path) -> None:
    model = unet(compactors=True)
    pruned = remove_channels(model, draw_kept(network_layout(model), seed=1), SHAPE)
    save(tmp_path / "net", pruned)
    assert_same(pruned, load(tmp_path / "net"), SHAPE)
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == [
        "spec.json",
        "weights.safetensors",
    ]


def test_describing_again_gives_the_same_description() -> None:
    model = PUBLIC["nafnet"]()
    assert describe_network(rebuild_from_text(model)) | {"name": ""} == describe_network(model) | {
        "name": ""
    }


def test_shared_weights_stay_shared_and_are_stored_once() -> None:
    twin = rebuild_from_text(REFUSED["two layers with one weight"][0]())
    assert twin.first.weight is twin.second.weight
    assert "second.weight" not in weights_for(twin)


def test_frozen_parameters_stay_frozen_and_number_types_stay() -> None:
    model = PUBLIC["edsr x2"]().double()
    frozen = [
        name for name, weight in trace_module(model).named_parameters() if not weight.requires_grad
    ]
    twin = rebuild_from_text(model)
    assert frozen and frozen == [
        name for name, weight in twin.named_parameters() if not weight.requires_grad
    ]
    assert all(weight.dtype == torch.float64 for weight in twin.parameters())


class Odd(nn.Module):
    """A network that few would write, but that can be described.

    It has dropout by a function, a buffer that is not stored, a tensor that is neither parameter
    nor buffer, and layers with odd names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {"3x3-conv": nn.Conv2d(3, 3, 3, padding="same"), "a b": nn.Hardtanh(0.0, float("inf"))}
        )
        self.register_buffer("mean", torch.rand(3, 1, 1), persistent=False)
        self.loose = torch.rand(3, 1, 1)

    def forward(self, input: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> two tensors of that shape."""
        y = (
            F.dropout(self.layers["3x3-conv"](input) - self.mean, training=self.training)
            + self.loose
        )
        return {"first": y, "second's": self.layers["a b"](y.clamp(0, float("inf")))}


def test_odd_networks_come_back_in_eval_mode_and_are_left_in_theirs() -> None:
    model = Odd().train()
    twin = rebuild_from_text(model)
    assert model.training and not twin.training
    assert_same(model, twin, (1, 3, 8, 8))


class OverridesForward(nn.Conv2d):
    """A convolution that overrides a method inside torch's own forward."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight * 2, bias)


def change_stride(layer: nn.Module) -> nn.Module:
    layer.stride = (2, 2)
    layer.in_channels = 5
    return layer


def add_parameter(layer: nn.Module) -> nn.Module:
    layer.gain = nn.Parameter(torch.rand(1))
    return layer


def add_hook(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (OverridesForward(3, 3, 1), "changes _conv_forward of Conv2d"),
        (
            change_stride(nn.Conv2d(3, 3, 1)),
            r"not the Conv2d that its arguments build: weight should be \(3, 5, 1, 1\)",
        ),
        (add_parameter(nn.Conv2d(3, 3, 1)), "gain should not be there"),
        (add_hook(nn.Conv2d(3, 3, 1)), "has hooks"),
        (
            nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)),
            "ParametrizedConv2d, which is not in the table",
        ),
        (nn.Bilinear(3, 3, 3), "Bilinear, which is not in the table"),
    ],
)
def test_a_layer_that_is_not_what_its_arguments_say_is_refused(
    layer: nn.Module, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        describe_network(nn.Sequential(layer))

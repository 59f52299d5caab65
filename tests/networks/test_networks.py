"""The networks of the other tests run, are reproducible, and contain all promised features."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace

from bench.channels.written_form import write_out
from tasks.models.res_unet import ResUNet
from tests.networks.chains import EDSR
from tests.networks.generated import generate_network
from tests.networks.public import PUBLIC, Shape, input_shape, random_inputs
from tests.networks.refused import REFUSED
from tests.oracles.tape import tensors
from tests.oracles.watched_memory import watch

CONVENTIONS = ("planned", "eager")
SEEDS = range(200)
SOME_SEEDS = range(0, 200, 7)
FEATURES = """
    plain; grouped; depthwise; depthwise, several of each; dilated; strided; asymmetric; transposed;
    transposed stride 2; activation module; activation function; activation in place; in place;
    BatchNorm; InstanceNorm; GroupNorm; LayerNorm; max pool; avg pool; adaptive pool; global pool;
    interpolate; pad; crop; PixelShuffle; PixelUnshuffle; softmax; scalar; learned scale; dropout;
    linear, channels last; linear on pooled; add; sub; mul; +=; add_; channel gate; spatial gate;
    expand; chunk; concat; nested concat; same value twice; returned concat; U-turn; dead value;
    unused input; two inputs; several outputs; dict output; returned intermediate;
    written after joining; part twice
"""


@torch.no_grad()
def run(
    network: nn.Module, shape: Shape | tuple[Shape, ...], dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    return tensors(network(*random_inputs(shape, dtype=dtype)))


def assert_equal(first: list[Tensor], second: list[Tensor], **tolerance: Any) -> None:
    torch.testing.assert_close(first, second, **tolerance)


def count_parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_network_is_the_same_each_time_and_can_be_traced(name: str) -> None:
    first = run(PUBLIC[name](), input_shape(name))
    assert_equal(first, run(PUBLIC[name](), input_shape(name)), rtol=0, atol=0)
    assert_equal(first, run(symbolic_trace(PUBLIC[name]()), input_shape(name)))
    assert all(out.isfinite().all() and out.std() > 0 for out in first)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", PUBLIC)
def test_the_oracle_watches_public_networks(name: str, convention: str) -> None:
    assert watch(PUBLIC[name](), input_shape(name), convention)


def test_res_u_net_has_the_published_parameters() -> None:
    assert count_parameters(ResUNet(width=32)) == 9_503_779
    assert count_parameters(ResUNet(width=32, global_residual=False)) == 9_503_779


@pytest.mark.parametrize(("residual", "mib"), [(True, 32.75), (False, 32)])
def test_res_u_net_has_the_expected_planned_peak(residual: bool, mib: float) -> None:
    steps = watch(ResUNet(width=32, global_residual=residual), (1, 3, 64, 64), "planned")
    assert max(size for _, size in steps) * 16 == mib * 2**20


@pytest.mark.parametrize(("scale", "count"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571)])
def test_edsr_has_the_published_parameters(scale: int, count: int) -> None:
    assert count_parameters(EDSR(scale, width=64, blocks=16)) == count


@pytest.mark.parametrize(("scale", "channels"), [(2, 320), (3, 640), (4, 1280)])
def test_edsr_has_the_expected_planned_peak(scale: int, channels: int) -> None:
    steps = watch(EDSR(scale, width=64, blocks=2), (1, 3, 8, 8), "planned")
    assert max(size for _, size in steps) == channels * 4 * 8 * 8


@pytest.mark.parametrize("seed", SOME_SEEDS)
def test_a_generated_network_is_the_same_each_time_and_can_be_traced(seed: int) -> None:
    network = generate_network(seed)
    first = run(network, network.shape)
    assert_equal(first, run(generate_network(seed), network.shape), rtol=0, atol=0)
    assert_equal(first, run(symbolic_trace(network), network.shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", SOME_SEEDS)
def test_the_oracle_watches_generated_networks(seed: int, convention: str) -> None:
    assert watch(generate_network(seed), generate_network(seed).shape, convention)


def test_generated_networks_have_all_features_and_a_sensible_size() -> None:
    networks = [generate_network(seed) for seed in SEEDS]
    assert all(15 <= len(network.steps) <= 45 for network in networks)
    count = Counter(feature for network in networks for feature in network.features)
    names = [name.strip() for name in FEATURES.replace("\n", " ").split(";")]
    assert {name: count[name] for name in names if count[name] < 4} == {}
    cross_channel = {"GroupNorm", "LayerNorm", "softmax"}
    assert sum(network.features.keys().isdisjoint(cross_channel) for network in networks) > 150


def test_generated_networks_run_in_double_precision_with_finite_results() -> None:
    for seed in SEEDS:
        network = generate_network(seed).double()
        for out in run(network, network.shape, torch.float64):
            assert out.dtype == torch.float64
            assert out.isfinite().all()


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_is_refused_runs_all_the_same(name: str) -> None:
    make, stage = REFUSED[name]
    assert stage in ("trace", "prune")
    assert run(make().eval(), (1, 3, 16, 16))[0].shape == (1, 3, 16, 16)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    "name",
    [  # the tape of the oracle does not follow assignments to parts
        name
        for name, (_, stage) in REFUSED.items()
        if stage == "prune" and name != "writing into a slice"
    ],
)
def test_the_oracle_watches_networks_that_cannot_be_pruned(name: str, convention: str) -> None:
    network = write_out(REFUSED[name][0](), (1, 3, 16, 16))
    assert watch(network, (1, 3, 16, 16), convention)

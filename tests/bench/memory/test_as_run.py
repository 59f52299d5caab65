"""The ruler "as run" counts what a real run allocates, but for what kernels keep to themselves."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.memory.as_run import as_run_peak_bytes
from bench.memory.measured import measured_peak_bytes
from bench.memory.profile import peak_memory
from bench.units import as_shapes
from tests.networks.generated import generate_network
from tests.networks.habits import HABITS
from tests.networks.habits import SHAPE as SMALL
from tests.networks.public import PUBLIC, input_shape
from tests.networks.refused import REFUSED

SEEDS = range(0, 200, 20)
MAP = 4 * 16 * 16  # bytes of one channel of a 16x16 input
KERNEL_SHARE = 0.01  # of the peak: what kernels allocate for themselves; 0.002 was measured


class HoldsItsSteps(nn.Module):
    """The names in `forward` hold what nobody reads later; a weight is computed, one is viewed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(8))
        self.steps: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        y = self.first(x)
        z = y.relu()
        z = z * (self.scale + 1).view(1, 8, 1, 1)
        out = self.last(z)
        self.steps.append(out)
        return out


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "noise map denoiser"])
def test_it_is_what_a_real_run_of_a_public_network_allocates(name: str) -> None:
    small = as_shapes(input_shape(name))
    shape = tuple((n, c, 8 * height, 8 * width) for n, c, height, width in small)
    measured = measured_peak_bytes(PUBLIC[name](), shape)
    assert measured * (1 - KERNEL_SHARE) <= as_run_peak_bytes(PUBLIC[name](), shape) <= measured


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_network_needs_at_least_what_is_planned(name: str) -> None:
    network, shape = PUBLIC[name](), input_shape(name)
    assert as_run_peak_bytes(network, shape) >= peak_memory(network, shape)


@pytest.mark.parametrize("habit", HABITS)
def test_what_people_write_needs_at_least_what_is_planned(habit: str) -> None:
    assert as_run_peak_bytes(HABITS[habit](), SMALL) >= peak_memory(HABITS[habit](), SMALL)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_needs_at_least_what_is_planned(seed: int) -> None:
    network = generate_network(seed)
    assert as_run_peak_bytes(network, network.shape) >= peak_memory(network, network.shape)


def test_what_a_frame_holds_and_a_computed_weight_count_and_weights_do_not() -> None:
    # At the product: the input, y, relu's z, the product; and the scale, which is 8 floats.
    assert as_run_peak_bytes(HoldsItsSteps().eval(), SMALL) == 27 * MAP + 4 * 8


def test_indices_of_a_pooling_count_until_it_ends() -> None:
    pooled = nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2))
    assert as_run_peak_bytes(pooled, SMALL) == 3 * MAP + 3 * MAP // 4 * (1 + 2)


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 4, 4)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.last = nn.ConvTranspose2d(16, 3, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        y = self.first(x)
        tokens = y.flatten(2).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.last(tokens.transpose(1, 2).reshape(y.shape))


def test_attention_counts_its_map_which_a_kernel_keeps_to_itself() -> None:
    shape = (1, 3, 128, 128)
    as_run = as_run_peak_bytes(Attends(), shape)
    assert as_run >= peak_memory(Attends(), shape) and as_run >= measured_peak_bytes(
        Attends(), shape
    )


def test_gradients_are_not_kept() -> None:
    layers = nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(5)])
    assert as_run_peak_bytes(layers, SMALL) == 3 * 3 * MAP  # the input, and two of a layer


def test_the_network_is_left_as_it_was() -> None:
    network = HoldsItsSteps().train()
    before = deepcopy(network)
    as_run_peak_bytes(network, SMALL)
    assert network.training and network.steps == [] and vars(network).keys() == vars(before).keys()
    for name, weight in network.named_parameters():
        assert type(weight) is nn.Parameter and weight.requires_grad
        torch.testing.assert_close(weight, before.get_parameter(name), rtol=0, atol=0)


def test_a_network_that_cannot_be_traced_is_counted() -> None:
    network = REFUSED["lstm"][0]().eval()
    with pytest.raises(ConfigError):
        peak_memory(network, SMALL)
    assert 12 * MAP <= as_run_peak_bytes(network, SMALL) <= measured_peak_bytes(network, SMALL)


def test_a_network_that_decides_by_values_is_refused_in_one_line() -> None:
    make, _ = REFUSED["control flow that depends on values"]
    with pytest.raises(ConfigError, match="DependsOnValues does not run without data at 1x3x16x16"):
        as_run_peak_bytes(make(), SMALL)

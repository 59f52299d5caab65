"""The memory model on public and random networks.

It equals the oracle at every time step, and is linear in the widths.
"""

from itertools import pairwise

import pytest
from torch import nn

from bench.memory.peak_model import peak_model
from bench.memory.profile import profile, timeline
from bench.surgery.remove import remove_channels
from bench.units import MIB
from tasks.models.res_unet import ResUNet
from tests.networks.generated import generate_network
from tests.networks.habits import HABITS
from tests.networks.habits import SHAPE as SMALL
from tests.networks.public import PUBLIC, input_shape
from tests.networks.small import draw_kept, network_layout
from tests.oracles.watched_memory import watch

pytestmark = pytest.mark.filterwarnings("ignore:Implicit dimension choice for softmax")
CONVENTIONS = ("planned", "eager")
SEEDS = range(200)


def assert_equal_to_the_oracle(network: nn.Module, shape: tuple) -> None:
    for convention in CONVENTIONS:
        modelled = [step.bytes for step in timeline(network, shape, convention)]
        assert modelled == [size for _, size in watch(network, shape, convention)]


def assert_linear(network: nn.Module, shape: tuple, seed: int) -> None:
    """Compare the linear model with tracing a pruned network again.

    Each unit keeps at least two channels: with one, a map that was broadcast over channels has the
    shape of the result and may be overwritten.
    """
    kept = draw_kept(network_layout(network, shape), seed, least=2)
    widths = {unit: len(indices) for unit, indices in kept.items()}
    smaller = remove_channels(network, kept, shape)
    for convention in CONVENTIONS:
        again = [step.bytes for step in timeline(smaller, shape, convention)]
        assert peak_model(network, shape, convention).step_bytes(widths).tolist() == again


@pytest.mark.parametrize("name", PUBLIC)
def test_model_and_oracle_agree_on_public_networks(name: str) -> None:
    assert_equal_to_the_oracle(PUBLIC[name](), input_shape(name))


@pytest.mark.parametrize("habit", HABITS)
def test_model_and_oracle_agree_on_what_people_write(habit: str) -> None:
    assert_equal_to_the_oracle(HABITS[habit](), SMALL)
    assert_linear(HABITS[habit](), SMALL, seed=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_model_and_oracle_agree_on_random_networks(seed: int) -> None:
    assert_equal_to_the_oracle(generate_network(seed), generate_network(seed).shape)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_linear_model_equals_tracing_a_public_network_again_after_surgery(name: str) -> None:
    for seed in range(3):
        assert_linear(PUBLIC[name](), input_shape(name), seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_linear_model_equals_tracing_a_random_network_again_after_surgery(seed: int) -> None:
    assert_linear(generate_network(seed), generate_network(seed).shape, seed)


@pytest.mark.parametrize(("residual", "peak_mib"), [(True, 32.75), (False, 32.0)])
def test_the_res_u_net_has_its_known_peak_and_parameters(residual: bool, peak_mib: float) -> None:
    measured = profile(ResUNet(width=32, global_residual=residual), (1, 3, 256, 256))
    assert (measured.peak_bytes, measured.parameters) == (peak_mib * MIB, 9_503_779)


def test_the_linear_model_stays_sparse_as_a_network_grows() -> None:
    """Counts entries instead of measuring time: a query costs as much as there are entries."""
    entries = []
    for blocks in (20, 40, 80):
        layers = [
            layer for _ in range(blocks) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        ]
        model = peak_model(
            nn.Sequential(nn.Conv2d(3, 4, 1), *layers, nn.Conv2d(4, 3, 1)), (1, 3, 8, 8)
        )
        entries.append(len(model.column))
    assert [later - before for before, later in pairwise(entries)] == [3 * 20, 3 * 40]


def test_running_statistics_are_no_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
    assert profile(network, (1, 3, 8, 8)).parameters == (4 * 3 * 9 + 4) + (4 + 4)

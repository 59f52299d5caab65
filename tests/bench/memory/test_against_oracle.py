"""The memory model (liveness over a traced graph) equals the oracle (watched real storages)."""

import random

import pytest
import torch
from torch import nn

from bench.memory.peak_model import peak_model
from bench.memory.profile import profile
from bench.surgery.compactors import insert_compactors, long_skips
from bench.surgery.remove import remove_channels
from bench.units import MIB
from tasks.models.unet import UNet
from tests.oracles.watched_memory import watch

SMALL = (1, 3, 32, 48)
CONVENTIONS = ("planned", "eager")


def add_compactors(model: nn.Module) -> nn.Module:
    return insert_compactors(model, long_skips(model, SMALL), SMALL)


def remove_random_channels(model: nn.Module, seed: int) -> nn.Module:
    """Remove random channels from every unit; most of the widths become odd."""
    rng = random.Random(seed)
    widths = peak_model(model, SMALL).widths
    kept = {
        unit: sorted(rng.sample(range(width), rng.randint(1, width)))
        for unit, width in widths.items()
    }
    return remove_channels(model, kept, SMALL)


NETWORKS = {
    "width 2": lambda: UNet(width=2),
    "width 3": lambda: UNet(width=3),
    "width 4": lambda: UNet(width=4),
    "global residual": lambda: UNet(width=3, global_residual=True),
    "4 to 12 channels": lambda: UNet(width=2, channels=4, channels_out=12),
    "compactors": lambda: add_compactors(UNet(width=3)),
    "compactors, global residual": lambda: add_compactors(UNet(width=2, global_residual=True)),
    "surgery": lambda: remove_random_channels(UNet(width=4), 0),
    "surgery, global residual": lambda: remove_random_channels(
        UNet(width=4, global_residual=True), 1
    ),
    "surgery, compactors": lambda: remove_random_channels(add_compactors(UNet(width=4)), 2),
    "surgery, compactors, global residual": lambda: remove_random_channels(
        add_compactors(UNet(width=3, global_residual=True)), 3
    ),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_model_and_oracle_agree_on_every_time_step(network: str, convention: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[network]()
    shape = (1, 4, 32, 48) if network.startswith("4") else SMALL
    modelled = [step.bytes for step in profile(model, shape, convention).timeline]
    assert modelled == [size for _, size in watch(model, shape, convention)]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_model_and_oracle_agree_on_a_batch(convention: str) -> None:
    model, shape = UNet(width=2), (3, 3, 16, 32)
    modelled = [step.bytes for step in profile(model, shape, convention).timeline]
    assert modelled == [size for _, size in watch(model, shape, convention)]


@pytest.mark.parametrize(
    ("width", "peak_mib", "parameters"),
    [(32, 768, 7759683), (24, 576, 4365555), (16, 384, 1940899), (8, 192, 485715)],
)
def test_plain_unets_have_the_published_peaks_and_parameters(
    width: int, peak_mib: int, parameters: int
) -> None:
    measured = profile(UNet(width=width), (1, 3, 1024, 2048))
    assert (measured.peak_bytes, measured.parameters) == (peak_mib * MIB, parameters)


@pytest.mark.parametrize(
    ("convention", "peak_mib", "peak_step"),
    [("planned", 24, "decoder.d1.d11"), ("eager", 32, "cat")],
)
def test_at_256_the_peak_is_at_the_last_concat(
    convention: str, peak_mib: int, peak_step: str
) -> None:
    measured = profile(UNet(width=32), (1, 3, 256, 256), convention)
    assert measured.peak_bytes == peak_mib * MIB
    assert measured.peak_step.startswith(peak_step)


def test_compactors_on_all_skips_leave_the_peak_and_cost_one_percent_of_the_parameters() -> None:
    model, shape = UNet(width=32), (1, 3, 256, 256)
    measured = profile(insert_compactors(model, long_skips(model, shape), shape), shape)
    assert (measured.peak_bytes, measured.parameters) == (24 * MIB, 7759683 + 87520)

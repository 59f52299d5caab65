"""The chosen tiles fit, by the memory model, and no others that fit compute less."""

from itertools import product

import pytest
import torch

from bench.contract import Budget
from bench.errors import ConfigError, Infeasible
from bench.memory.profile import peak_memory
from bench.tiling.largest import largest_tile
from bench.tiling.plan import lay_out, least_tile
from tasks.models.edsr import EDSR
from tasks.models.unet import UNet

SHAPE = (1, 3, 96, 64)


def test_no_tiles_that_fit_compute_fewer_pixels() -> None:
    """All sizes are tried, each by a trace of its own."""
    network, shape = UNet(width=8, levels=3), (1, 3, 28, 36)
    budget = Budget(peak_memory(network, shape) * 2 // 3, shape)
    plan = largest_tile(network, budget, halo=4)
    axes = list(zip((plan.field.rows, plan.field.columns), shape[2:], plan.overlap, strict=True))
    sizes = [
        range(least_tile(axis, shared), length + axis.period, axis.period)
        for axis, length, shared in axes
    ]
    computed = {}
    for tile in product(*sizes):
        buffers = 0 if tile == shape[2:] else plan.buffer_bytes
        if buffers + peak_memory(network, (1, 3, *tile)) <= budget.peak_bytes:
            parts = [lay_out(axis, n, t, by) for (axis, n, by), t in zip(axes, tile, strict=True)]
            rows, columns = (sum(part.stop - part.start for part in axis) for axis in parts)
            computed[tile] = rows * columns
    rows, columns = (sum(part.stop - part.start for part in axis) for axis in plan.parts(shape))
    assert plan.peak_bytes <= budget.peak_bytes and plan.count > 1
    assert rows * columns == min(computed.values())


@pytest.mark.parametrize("convention", ["planned", "eager"])
def test_the_tiles_of_an_image_of_odd_size_fit(convention) -> None:
    network, shape = EDSR(width=8, blocks=1, scale=3), (1, 3, 61, 83)
    budget = Budget(peak_memory(network, shape, convention) * 3 // 4, shape, convention)
    plan = largest_tile(network, budget)
    assert plan.buffer_bytes == 4 * 3 * 61 * 83 * 10
    assert 0.8 * budget.peak_bytes < plan.peak_bytes <= budget.peak_bytes


def test_an_image_that_fits_is_one_tile() -> None:
    network = UNet(width=4, levels=2)
    plan = largest_tile(network, Budget(peak_memory(network, SHAPE), SHAPE))
    assert (plan.tile, plan.count, plan.buffer_bytes) == (SHAPE[2:], 1, 0)
    assert plan.is_exact


def test_bytes_leave_more_memory_for_a_tile() -> None:
    network = UNet(width=4, levels=2)
    budget = Budget(peak_memory(network, SHAPE) * 3 // 4, SHAPE)
    plans = [largest_tile(network, budget, halo=4, buffers=kind) for kind in ("float", "uint8")]
    assert plans[0].buffer_bytes == 4 * plans[1].buffer_bytes
    assert plans[0].macs >= plans[1].macs


def test_a_network_in_half_precision_has_buffers_of_half_the_bytes() -> None:
    network = EDSR(width=8, blocks=1, scale=2).to(torch.bfloat16)
    budget = Budget(peak_memory(network, SHAPE) * 3 // 4, SHAPE)
    assert largest_tile(network, budget).buffer_bytes == 2 * 3 * 96 * 64 * 5


@pytest.mark.parametrize(
    ("levels", "bytes_", "message"),
    [
        (2, 100_000, r"input and output alone take 0\.1 MiB as float"),
        (2, 160_000, r"input and output take 0\.1 MiB, and the smallest tile, .* the least is 0"),
        (5, 200_000, r"image of 96x64 has no smaller tiles: .*share 192 rows.*give a halo"),
    ],
)
def test_a_budget_that_no_tiles_fit_is_infeasible(levels: int, bytes_: int, message: str) -> None:
    with pytest.raises(Infeasible, match=message):
        largest_tile(UNet(width=4, levels=levels), Budget(bytes_, SHAPE))


def test_several_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 inputs were given"):
        largest_tile(UNet(width=4, levels=2), Budget(10**6, (SHAPE, SHAPE)))

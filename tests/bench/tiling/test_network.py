"""Exact tiles give what the whole image gives, at the planned peak; other tiles nearly do."""

from collections.abc import Callable
from math import prod

import pytest
import torch
from torch import nn

from bench.contract import Budget
from bench.errors import ConfigError
from bench.lean.pipeline import make_lean
from bench.memory.measured import measured_peak_bytes
from bench.memory.profile import peak_memory
from bench.tiling.largest import largest_tile
from bench.tiling.network import TiledNetwork, measure_tile_error
from bench.tiling.plan import Executor, TilePlan, choose_overlap, make_plan, plan_tiles
from bench.tiling.receptive_field import receptive_field
from tasks.models.edsr import EDSR
from tasks.models.nafnet import ChannelAttention
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet
from tests.networks.generated import generate_network
from tests.networks.programs import Program, Slot
from tests.oracles.gradient_field import assert_field_by_gradients

TOLERANCE = 1e-12  # in double precision, in which what is far away still shows
# The first 100 generated networks with one input, without operators over the whole image, that
# accept an image of 64x96 and whose gradients do not vanish.
SEEDS = (
    0, 3, 4, 8, 13, 20, 24, 32, 35, 38, 39, 40, 43, 48, 49, 58, 62, 63, 72, 74, 77, 79, 81, 85,
    87, 90, 95, 96, 97, 101, 104, 106, 107, 113, 120, 121, 123, 124, 125, 128, 132, 135, 137,
    145, 152, 155, 156, 158, 159, 162, 163, 167, 172, 173, 174, 177, 178, 181, 186, 187, 190,
    195, 198, 207, 209, 211, 215, 216, 218, 219, 223, 225, 233, 234, 243, 250, 253, 258, 264,
    265, 270, 271, 274, 275, 281, 285, 290, 291, 293, 298, 299, 300, 301, 303, 305, 309, 315,
    316, 319, 320,
)  # fmt: skip


def tile_in_halves(network: nn.Module, shape: tuple[int, int, int, int]) -> TilePlan:
    """Return the plan of two tiles along each axis, as far as the receptive field allows."""
    field = receptive_field(network, shape)
    overlap = choose_overlap(field, None)
    tile = [
        axis.align((length + shared + 1) // 2)
        for axis, length, shared in zip(
            (field.rows, field.columns), shape[2:], overlap, strict=True
        )
    ]
    return make_plan(network, field, shape, (tile[0], tile[1]), overlap, "float", "planned")


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: UNet(width=4, levels=3), (1, 3, 96, 112)),
        (lambda: ResUNet(width=4, levels=2), (1, 3, 64, 50)),
        (lambda: EDSR(width=4, blocks=2, scale=2), (1, 3, 41, 37)),
        (lambda: EDSR(width=4, blocks=2, scale=3), (2, 3, 37, 41)),
        (lambda: nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 4, 7)), (1, 3, 40, 44)),
    ],
)
def test_exact_tiles_give_what_the_whole_image_gives(make: Callable[[], nn.Module], shape) -> None:
    network = make().eval().double()
    plan = tile_in_halves(network, shape)
    image = torch.rand(shape, dtype=torch.float64)
    assert plan.is_exact and plan.count > 3
    assert measure_tile_error(TiledNetwork(network, plan), image).largest < TOLERANCE


def pooled_and_enlarged() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(4), nn.Upsample(scale_factor=4), nn.ReLU()
    )


@pytest.mark.parametrize(
    ("make", "planned", "tile"),
    [
        (lambda: UNet(width=4, levels=2), (1, 3, 64, 64), (64, 64)),
        (lambda: UNet(width=4, levels=2), (1, 3, 64, 96), (64, 48)),
        (pooled_and_enlarged, (1, 3, 62, 60), (62, 24)),
    ],
)
def test_a_plan_that_covers_an_axis_is_exact_on_larger_images(make, planned, tile) -> None:
    network = make().eval().double()
    plan = plan_tiles(network, planned, tile)
    image = torch.rand(1, 3, 160, 136, dtype=torch.float64)
    assert plan.is_exact_for(image.shape)
    assert measure_tile_error(TiledNetwork(network, plan), image).largest < TOLERANCE


def test_what_fits_whole_is_exact_in_tiles_of_a_larger_image() -> None:
    network = UNet(width=4, levels=2).eval().double()
    plan = largest_tile(network, Budget(10**9, (1, 3, 64, 64)))
    image = torch.rand(1, 3, 128, 96, dtype=torch.float64)
    assert plan.count == 1
    assert measure_tile_error(TiledNetwork(network, plan), image).largest < TOLERANCE


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (ChannelAttention(3), "1x3x32x32 as one tile, the image is 1x3x64x64, .*pooling over"),
        (UNet(width=2, levels=3), "tiles of 32 pixels .* need tiles of at least 48"),
    ],
)
def test_a_larger_image_without_tiles_is_refused(network: nn.Module, message: str) -> None:
    plan = largest_tile(network.eval(), Budget(10**9, (1, 3, 32, 32)))
    assert plan.is_exact
    with pytest.raises(ConfigError, match=message):
        TiledNetwork(network, plan)(torch.rand(1, 3, 64, 64))


def as_image_network(seed: int) -> Program:
    """Return a generated network that returns one image, without padding from the other side."""
    network = generate_network(seed)
    if not isinstance(network.result, Slot):
        results = network.result.values() if isinstance(network.result, dict) else network.result
        network.result = next(iter(results))
    for layer in network.modules():
        if getattr(layer, "padding_mode", "") == "circular":
            layer.padding_mode = "zeros"
    return network


@pytest.mark.parametrize(
    "seed",
    [
        seed if not at % 8 else pytest.param(seed, marks=pytest.mark.slow)
        for at, seed in enumerate(SEEDS)
    ],
)
def test_a_generated_network_is_exact_in_tiles_and_has_the_field_of_its_gradients(
    seed: int,
) -> None:
    network = as_image_network(seed).double()
    shape = (1, network.shape[1], 64, 96)
    plan = tile_in_halves(network, shape)
    image = torch.rand(shape, dtype=torch.float64)
    size = network(image).abs().max().item()
    tolerance = TOLERANCE * max(1, size)
    assert plan.is_exact
    assert measure_tile_error(TiledNetwork(network, plan), image).largest < tolerance
    assert_field_by_gradients(network, shape, draws=8)


def test_a_smaller_halo_has_an_error_that_falls_with_it() -> None:
    network, shape = UNet(width=4, levels=3).eval(), (1, 3, 128, 128)
    image = torch.rand(shape)
    errors = [
        measure_tile_error(
            TiledNetwork(network, plan_tiles(network, shape, (64, 64), halo=halo)), image
        )
        for halo in (0, 4, 22)
    ]
    assert errors[0].rms > errors[1].rms > errors[2].rms
    assert errors[0].largest > errors[1].largest > errors[2].largest


def test_blending_removes_the_step_between_tiles() -> None:
    """The tiles of this network differ in brightness."""

    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0 * x + x.mean((2, 3), keepdim=True)

    shape = (1, 3, 64, 64)
    plan = plan_tiles(Mean(), shape, (40, 64), halo=8)
    image = torch.rand(shape)
    steps = [
        TiledNetwork(Mean(), plan, blend=blend)(image).diff(dim=2).abs().max().item()
        for blend in (False, True)
    ]
    assert 0 < steps[1] < steps[0] / 10


def test_images_of_bytes_and_of_other_sizes_are_restored() -> None:
    network = EDSR(width=4, blocks=1, scale=2).eval()
    tiled = TiledNetwork(network, tile_in_halves(network, (1, 3, 40, 40)))
    image = torch.randint(256, (1, 3, 61, 33), dtype=torch.uint8)
    with torch.no_grad():
        whole = network(image / 255).clamp(0, 1) * 255
    restored = tiled(image)
    assert restored.dtype == torch.uint8 and restored.shape == (1, 3, 122, 66)
    assert (restored - whole).abs().max() <= 0.5 + 1e-3


class Bytes(nn.Module):
    """Restores an image of bytes that it makes itself; its input is only there to be held."""

    def __init__(self, tiled: TiledNetwork) -> None:
        super().__init__()
        self.tiled = tiled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layout = torch.channels_last
        return self.tiled(torch.empty(x.shape, dtype=torch.uint8, memory_format=layout).zero_())


@pytest.mark.parametrize("buffers", ["float", "uint8"])
@pytest.mark.parametrize("executor", ["lean", "pytorch"])
def test_a_run_in_tiles_needs_its_buffers_and_what_the_network_needs_for_a_tile(
    executor: str, buffers
) -> None:
    network, shape = UNet(width=8, levels=2).eval(), (1, 3, 192, 192)
    plan = largest_tile(network, Budget(peak_memory(network, shape) // 2, shape), buffers=buffers)
    tile = (1, 3, *plan.tile)
    network = make_lean(network, tile) if executor == "lean" else network
    tiled = TiledNetwork(network, plan)
    measured = measured_peak_bytes(tiled if buffers == "float" else Bytes(tiled), shape)
    measured -= 0 if buffers == "float" else 4 * prod(shape)
    expected = plan.buffer_bytes + measured_peak_bytes(network, tile)
    assert plan.count > 1
    assert measured == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("executor", ["lean", "pytorch"])
@pytest.mark.parametrize(
    "make", [lambda: UNet(width=16, levels=2), lambda: EDSR(width=16, blocks=2, scale=2)]
)
def test_a_run_in_tiles_needs_what_is_planned(
    make: Callable[[], nn.Module], executor: Executor
) -> None:
    network, shape = make().eval(), (1, 3, 256, 256)
    budget = Budget(peak_memory(network, shape) * 2 // 3, shape)
    plan = largest_tile(network, budget, executor=executor)
    is_lean = executor == "lean"
    tiled = TiledNetwork(make_lean(network, (1, 3, *plan.tile)) if is_lean else network, plan)
    assert plan.count > 1
    assert measured_peak_bytes(tiled, shape) == pytest.approx(plan.peak_bytes, rel=0.05)


def test_bytes_cannot_be_blended_and_channels_must_agree() -> None:
    network = nn.Conv2d(3, 3, 3, padding=1).eval()
    plan = plan_tiles(network, (1, 3, 32, 32), (16, 16), halo=0)
    with pytest.raises(ConfigError, match="bytes cannot be blended"):
        TiledNetwork(network, plan, blend=True)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="planned for 1x3x32x32, and the input is 1x4x32x32"):
        TiledNetwork(network, plan)(torch.zeros(1, 4, 32, 32))

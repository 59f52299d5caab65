"""The lean network has the outputs of the network, and a real run needs the planned memory."""

from collections.abc import Callable
from copy import deepcopy
from random import Random
from statistics import median
from timeit import timeit

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.lean.pipeline import make_lean
from bench.memory.measured import measured_peak_bytes
from bench.memory.profile import peak_memory
from bench.surgery.compactors import insert_compactors, long_skips
from bench.surgery.remove import remove_channels
from tasks.models.edsr import EDSR
from tasks.models.initialisation import initialise
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet
from tests.networks.generated import generate_network
from tests.networks.habits import HABITS
from tests.networks.habits import SHAPE as SMALL
from tests.networks.public import PUBLIC, input_shape, random_inputs, scramble
from tests.networks.refused import REFUSED
from tests.networks.small import draw_kept, network_layout
from tests.oracles.tape import tensors

SHAPE = (1, 3, 32, 32)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SEEDS = range(0, 200, 4)
SMALL_SLACK_BYTES = 2**15  # weights that oneDNN reorders, beside networks of a few KiB


def unet_with_compactors() -> nn.Module:
    return insert_compactors(UNet(16), long_skips(UNet(16), SHAPE), SHAPE)


BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "U-Net": lambda: UNet(16),
    "U-Net with compactors": unet_with_compactors,
    "Res-U-Net": lambda: ResUNet(16),
    "EDSR x2": lambda: EDSR(16, blocks=2, scale=2),
    "EDSR x3": lambda: EDSR(16, blocks=2, scale=3),
    "EDSR x4": lambda: EDSR(16, blocks=2, scale=4),
}


def make_backbone(name: str) -> nn.Module:
    """Return a backbone with random weights, in eval mode."""
    network = BACKBONES[name]()
    initialise(network, torch.Generator().manual_seed(0))
    return network.eval()


@torch.inference_mode()
def assert_same(network: nn.Module, rewritten: nn.Module, inputs: list[Tensor]) -> None:
    """Compare the outputs in both memory formats; the inputs must not change."""
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given = [
            x.clone().to(memory_format=memory_format) if x.ndim == 4 else x.clone() for x in inputs
        ]
        expected = tensors(network(*[x.clone() for x in given]))
        torch.testing.assert_close(tensors(rewritten(*given)), expected, **TOLERANCE)
        torch.testing.assert_close(given, inputs, rtol=0, atol=0)


def assert_lean(network: nn.Module, shape: Inputs) -> None:
    """Compare the outputs of a network and its lean form at a shape."""
    assert_same(network, make_lean(network, shape), random_inputs(shape))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_gives_the_same_also_at_other_sizes_and_batches(name: str) -> None:
    network = make_backbone(name)
    rewritten = make_lean(network, SHAPE)
    for shape in (SHAPE, (1, 3, 96, 64), (2, 3, 64, 48)):
        assert_same(network, rewritten, random_inputs(shape))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_pruned_backbone_gives_the_same(name: str) -> None:
    network = make_backbone(name)
    kept = draw_kept(network_layout(network), seed=1)
    assert_lean(remove_channels(network, kept, SHAPE), (1, 3, 64, 64))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_network_gives_the_same(name: str) -> None:
    assert_lean(PUBLIC[name](), input_shape(name))


@pytest.mark.parametrize("habit", HABITS)
def test_what_people_write_gives_the_same(habit: str) -> None:
    assert_lean(HABITS[habit](), SMALL)


@pytest.mark.parametrize("name", [name for name, (_, stage) in REFUSED.items() if stage == "prune"])
def test_what_cannot_be_pruned_gives_the_same(name: str) -> None:
    assert_lean(REFUSED[name][0]().eval(), SMALL)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_gives_the_same(seed: int) -> None:
    assert_lean(generate_network(seed), generate_network(seed).shape)


def test_what_cannot_be_traced_is_refused() -> None:
    make, _ = REFUSED["control flow that depends on values"]
    with pytest.raises(ConfigError, match="cannot be traced"):
        make_lean(make().eval(), SMALL)


def test_the_network_is_left_untouched_and_a_copy_works() -> None:
    network = make_backbone("U-Net").train()
    before = deepcopy(network.state_dict())
    rewritten = deepcopy(make_lean(network, SHAPE)).to(memory_format=torch.channels_last)
    assert network.training and all(weight.requires_grad for weight in network.parameters())
    torch.testing.assert_close(dict(network.state_dict()), dict(before), rtol=0, atol=0)
    assert all(weight.is_contiguous() for weight in network.parameters())
    assert_same(network.eval(), rewritten, random_inputs(SHAPE))


def test_consumed_inputs_leave_the_list() -> None:
    rewritten = make_lean(make_backbone("U-Net"), SHAPE)
    inputs = random_inputs(SHAPE)
    expected = rewritten(*inputs)
    assert torch.equal(rewritten.consume(inputs), expected)
    assert inputs == [None]


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_needs_what_is_planned(name: str) -> None:
    shape = (1, 3, 256, 256) if name.startswith(("U", "R")) else (1, 3, 128, 128)
    planned = peak_memory(make_backbone(name), shape)
    measured = measured_peak_bytes(make_lean(make_backbone(name), shape), shape)
    assert planned <= measured * 1.02
    assert measured <= 1.05 * planned + 4 * 3 * shape[2] * shape[3]  # the caller holds the input


# The inputs of the noise map denoiser do not have one size.
@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "noise map denoiser"])
def test_a_public_network_needs_no_more_than_before(name: str) -> None:
    network, shape = PUBLIC[name](), input_shape(name)
    lean_bytes = measured_peak_bytes(make_lean(network, shape), shape)
    assert lean_bytes <= measured_peak_bytes(network, shape) + SMALL_SLACK_BYTES


class PaddingUNet(nn.Module):
    """A U-Net for any size, of random widths: what comes up is padded to the size of its skip.

    The skip is narrowed; its size is read late, from what it was narrowed from, as surgery with
    compactors leaves it.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = Random(seed)
        a, b, c, d, e = (rng.randint(3, 9) for _ in range(5))
        self.down = nn.Conv2d(3, a, 3, padding=1)
        self.skip = nn.Conv2d(a, b, 1)
        self.middle = nn.Conv2d(a, 3 * c, 3, padding=1)
        self.up = nn.ConvTranspose2d(3 * c, d, 2, stride=2)
        self.merge = nn.Conv2d(b + d, e, 3, padding=1)
        self.tail = nn.Conv2d(e, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        full = self.down(x).relu()
        skip = self.skip(full)
        y = self.up(self.middle(nn.functional.max_pool2d(full, 2)).relu())
        high, wide = full.shape[2] - y.shape[2], full.shape[3] - y.size(3)
        y = nn.functional.pad(y, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return self.tail(self.merge(torch.cat((skip, y), 1)).relu())


@pytest.mark.parametrize("seed", range(2))
def test_a_u_net_that_pads_needs_what_is_planned(seed: int) -> None:
    network, shape = PaddingUNet(seed).eval(), (1, 3, 381, 383)
    assert_lean(network, shape)
    assert_is_planned_or_explained(network, shape)
    assert make_lean(network, shape).excess == ()


class Unshuffles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 32, H / 2, W / 2)."""
        return nn.functional.pixel_unshuffle(self.head(x), 2)


class NotLean(nn.Module):
    """A pooling that rounds its size up reads a concat: neither has a lean form."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 1)
        self.right = nn.Conv2d(3, 8, 1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 16, H / 2, W / 2)."""
        return self.pool(torch.cat((self.left(x), self.right(x)), 1))


def test_operators_without_a_lean_form_are_named() -> None:
    assert make_lean(make_backbone("U-Net"), SHAPE).excess == ()
    assert "cat" in [excess.op for excess in make_lean(NotLean().eval(), SHAPE).excess]


class NormsByFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return nn.functional.instance_norm(x) + 1


class Deep(nn.Sequential):
    """A network whose weights outweigh its activations."""

    def __init__(self) -> None:
        wide = nn.Conv2d(256, 256, 3, padding=1, groups=2)
        super().__init__(nn.Conv2d(3, 256, 8, stride=8), nn.ReLU(), wide, nn.Conv2d(256, 3, 1))


@pytest.mark.parametrize(
    ("kind", "op"),
    [(NotLean, "cat"), (NormsByFunction, "instance_norm"), (Unshuffles, "pixel"), (Deep, "2")],
)
def test_what_exceeds_the_plan_is_named_with_its_bytes(kind: type[nn.Module], op: str) -> None:
    network, shape = kind().eval(), (1, 3, 256, 256)
    assert any(excess.op.startswith(op) for excess in make_lean(network, shape).excess)
    assert_is_planned_or_explained(network, shape)


def assert_is_planned_or_explained(network: nn.Module, shape: Inputs) -> None:
    """Compare the measured peak with the planned one and what is named above it."""
    rewritten, planned = make_lean(network, shape), peak_memory(network, shape)
    explained = max((excess.bytes for excess in rewritten.excess), default=0)
    measured = measured_peak_bytes(rewritten, shape)
    assert measured <= 1.05 * (planned + explained)
    assert not explained or explained <= 1.05 * (measured - planned)


class PadsAConcat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 1)
        self.right = nn.Conv2d(3, 8, 1)
        self.pad = nn.ReflectionPad2d(1)
        self.tail = nn.Conv2d(16, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(self.pad(torch.cat((self.left(x), self.right(x)), 1)))


def test_the_parts_of_a_padded_concat_are_padded_one_by_one() -> None:
    assert_lean(PadsAConcat().eval(), (1, 3, 256, 256))
    assert_is_planned_or_explained(PadsAConcat().eval(), (1, 3, 256, 256))
    assert make_lean(PadsAConcat().eval(), (1, 3, 256, 256)).excess == ()


class Norms(nn.Module):
    """Convolutions, each followed by an InstanceNorm, as in U-Nets for medical images."""

    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.InstanceNorm2d(8, **options)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.last_norm = nn.InstanceNorm2d(8, **options)
        self.tail = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(self.last_norm(self.body(self.norm(self.head(x)).relu())).relu())


@pytest.mark.parametrize(
    "options", [{}, {"affine": True}, {"affine": True, "track_running_stats": True}]
)
def test_an_instance_normalisation_gives_the_same_and_needs_what_is_planned(options: dict) -> None:
    network, shape = Norms(**options).eval(), (1, 3, 512, 512)
    for layer in (network.norm, network.last_norm):
        scramble(layer)
    assert_lean(network, (2, 3, 32, 24))
    rewritten = make_lean(network, shape)
    planned = peak_memory(network, shape)
    assert planned <= measured_peak_bytes(rewritten, shape) <= 1.01 * planned
    assert measured_peak_bytes(network, shape) > 1.4 * planned and rewritten.excess == ()


def test_an_instance_normalisation_without_a_lean_form_is_named() -> None:
    assert [excess.op for excess in make_lean(NormsByFunction(), SHAPE).excess] == ["instance_norm"]


class ReadsFromStars(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor, **more: Tensor) -> Tensor:
        """(N, 3, H, W), more -> (N, 3, H, W)."""
        return self.only(x) + more["other"]


def test_inputs_without_a_name_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"forward of ReadsFromStars reads .* from \*\*more"):
        make_lean(ReadsFromStars(), SHAPE)


def test_an_input_that_is_missing_is_refused_in_one_line() -> None:
    name = "guided filter"
    rewritten = make_lean(PUBLIC[name](), input_shape(name))
    with pytest.raises(ConfigError, match=r"was given 1 inputs and reads a 2\. one"):
        rewritten(random_inputs(input_shape(name))[0])


@pytest.mark.slow
def test_a_lean_u_net_is_about_as_fast() -> None:
    """Takes the median of ratios of adjacent runs: other work on the machine slows both."""
    network, shape = UNet(32).eval().to(memory_format=torch.channels_last), (1, 3, 512, 512)
    rewritten = make_lean(network, shape).to(memory_format=torch.channels_last)
    ratios = []
    x = torch.rand(shape).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(9):
            eager_seconds = timeit(lambda: network(x), number=1)
            lean_seconds = timeit(lambda: rewritten(x), number=1)
            ratios.append(lean_seconds / eager_seconds)
    assert median(ratios) < 1.1

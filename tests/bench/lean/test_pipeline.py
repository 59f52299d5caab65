"""The lean network gives what the network gives, and a real run of it needs what is planned."""

from collections.abc import Callable
from copy import deepcopy
from statistics import median
from timeit import timeit

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.lean.pipeline import lean
from bench.memory.measured import measured_peak_bytes
from bench.memory.profile import peak_memory
from bench.surgery.compactors import insert, long_skips
from bench.surgery.remove import remove_channels
from tasks.models.edsr import EDSR
from tasks.models.initialisation import initialise
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet
from tests.networks.generated import generated
from tests.networks.habits import HABITS
from tests.networks.habits import SHAPE as SMALL
from tests.networks.public import PUBLIC, inputs_of, shape_of
from tests.networks.refused import REFUSED
from tests.networks.small import layout_of, random_kept
from tests.oracles.tape import tensors

SHAPE = (1, 3, 32, 32)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SEEDS = range(0, 200, 4)
SMALL_SLACK_BYTES = 2**15  # weights that oneDNN reorders, beside networks of a few KiB


def compacted() -> nn.Module:
    return insert(UNet(16), long_skips(UNet(16), SHAPE), SHAPE)


BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "U-Net": lambda: UNet(16),
    "U-Net with compactors": compacted,
    "Res-U-Net": lambda: ResUNet(16),
    "EDSR x2": lambda: EDSR(16, blocks=2, scale=2),
    "EDSR x3": lambda: EDSR(16, blocks=2, scale=3),
    "EDSR x4": lambda: EDSR(16, blocks=2, scale=4),
}


def backbone(name: str) -> nn.Module:
    """Random weights, in eval mode."""
    network = BACKBONES[name]()
    initialise(network, torch.Generator().manual_seed(0))
    return network.eval()


@torch.inference_mode()
def assert_same(network: nn.Module, rewritten: nn.Module, inputs: list[Tensor]) -> None:
    """Both layouts; inputs are left as they are."""
    for layout in (torch.contiguous_format, torch.channels_last):
        given = [
            each.clone().to(memory_format=layout) if each.ndim == 4 else each.clone()
            for each in inputs
        ]
        asked = tensors(network(*[each.clone() for each in given]))
        torch.testing.assert_close(tensors(rewritten(*given)), asked, **TOLERANCE)
        torch.testing.assert_close(given, inputs, rtol=0, atol=0)


def assert_lean(network: nn.Module, shape: Inputs) -> None:
    """Same outputs at this shape."""
    assert_same(network, lean(network, shape), inputs_of(shape))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_gives_the_same_also_at_other_sizes_and_batches(name: str) -> None:
    network = backbone(name)
    rewritten = lean(network, SHAPE)
    for shape in (SHAPE, (1, 3, 96, 64), (2, 3, 64, 48)):
        assert_same(network, rewritten, inputs_of(shape))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_pruned_backbone_gives_the_same(name: str) -> None:
    network = backbone(name)
    assert_lean(
        remove_channels(network, random_kept(layout_of(network), seed=1), SHAPE), (1, 3, 64, 64)
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_network_gives_the_same(name: str) -> None:
    assert_lean(PUBLIC[name](), shape_of(name))


@pytest.mark.parametrize("habit", HABITS)
def test_what_people_write_gives_the_same(habit: str) -> None:
    assert_lean(HABITS[habit](), SMALL)


@pytest.mark.parametrize("name", [name for name, (_, stage) in REFUSED.items() if stage == "prune"])
def test_what_cannot_be_pruned_gives_the_same(name: str) -> None:
    assert_lean(REFUSED[name][0]().eval(), SMALL)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_gives_the_same(seed: int) -> None:
    assert_lean(generated(seed), generated(seed).shape)


def test_what_cannot_be_traced_is_refused() -> None:
    make, _ = REFUSED["control flow that depends on values"]
    with pytest.raises(ConfigError, match="cannot be traced"):
        lean(make().eval(), SMALL)


def test_the_network_is_left_untouched_and_a_copy_works() -> None:
    network = backbone("U-Net").train()
    before = deepcopy(network.state_dict())
    rewritten = deepcopy(lean(network, SHAPE)).to(memory_format=torch.channels_last)
    assert network.training and all(weight.requires_grad for weight in network.parameters())
    torch.testing.assert_close(dict(network.state_dict()), dict(before), rtol=0, atol=0)
    assert all(weight.is_contiguous() for weight in network.parameters())
    assert_same(network.eval(), rewritten, inputs_of(SHAPE))


def test_consumed_inputs_leave_the_list() -> None:
    rewritten, inputs = lean(backbone("U-Net"), SHAPE), inputs_of(SHAPE)
    asked = rewritten(*inputs)
    assert torch.equal(rewritten.consume(inputs), asked)
    assert inputs == [None]


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_needs_what_is_planned(name: str) -> None:
    shape = (1, 3, 256, 256) if name.startswith(("U", "R")) else (1, 3, 128, 128)
    planned = peak_memory(backbone(name), shape)
    measured = measured_peak_bytes(lean(backbone(name), shape), shape)
    assert planned <= measured * 1.02
    assert measured <= 1.05 * planned + 4 * 3 * shape[2] * shape[3]  # the caller holds the input


@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if name != "noise map denoiser"]
)  # its inputs are not of one size
def test_a_public_network_needs_no_more_than_before(name: str) -> None:
    network, shape = PUBLIC[name](), shape_of(name)
    assert (
        measured_peak_bytes(lean(network, shape), shape)
        <= measured_peak_bytes(network, shape) + SMALL_SLACK_BYTES
    )


class Unknown(nn.Module):
    """Pooling reads the concat as well, with indices: it has no lean form."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.pool = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(3, 8, 1),
            nn.MaxPool2d(2, ceil_mode=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 16, H / 2, W / 2)."""
        return self.pool(torch.cat((self.left(x), self.right(x)), 1))


def test_operators_without_a_lean_form_are_named() -> None:
    assert lean(backbone("U-Net"), SHAPE).remaining == ()
    assert "cat" in [each.op for each in lean(Unknown().eval(), SHAPE).remaining]


@pytest.mark.slow
def test_a_lean_u_net_is_about_as_fast() -> None:
    """Medians of ratios, one beside the other: other work on the machine slows both."""
    network, shape = UNet(32).eval().to(memory_format=torch.channels_last), (1, 3, 512, 512)
    rewritten, ratios = lean(network, shape).to(memory_format=torch.channels_last), []
    x = torch.rand(shape).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(9):
            eager, ours = (
                timeit(lambda each=each: each(x), number=1) for each in (network, rewritten)
            )  # type: ignore[misc]
            ratios.append(ours / eager)
    assert median(ratios) < 1.1

"""All public networks by name, and the shapes of their inputs.

PUBLIC[name]() makes a network with small widths and random weights, in eval mode; SHAPES says of
some what they are fed. All others get one input of SHAPE.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from tasks.models.res_unet import ResUNet
from tests.networks.chains import EDSR, DnCNN, GuidedFilter, NoiseMapDenoiser, RIDNet, SRResNet
from tests.networks.pyramids import HINet, NAFNet
from tests.networks.stages import MPRNet

Shape = tuple[int, int, int, int]
SHAPE: Shape = (1, 3, 32, 32)


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network whose weights and running statistics depend on the seed only, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm):
                scramble(layer)
    return network.eval()


def scramble(layer: nn.Module) -> None:
    """Statistics and scales that are not those of the identity."""
    with torch.no_grad():
        for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(-0.5, 0.5) if name in ("bias", "running_mean") else tensor.uniform_(
                    0.5, 1.5
                )


CLASSES: dict[str, Callable[[], nn.Module]] = {
    "dncnn": DnCNN,
    "srresnet x2": partial(SRResNet, scale=2),
    "srresnet x4": partial(SRResNet, scale=4),
    "edsr x2": partial(EDSR, scale=2),
    "edsr x3": partial(EDSR, scale=3, res_scale=0.1),
    "edsr x4": partial(EDSR, scale=4),
    "ridnet": RIDNet,
    "mprnet": MPRNet,
    "nafnet": NAFNet,
    "nafnet, viewed weights": partial(NAFNet, flat=True),
    "hinet": HINet,
    "res-u-net": partial(ResUNet, width=2),
    "res-u-net, no global residual": partial(ResUNet, width=2, global_residual=False),
    "noise map denoiser": NoiseMapDenoiser,
    "guided filter": GuidedFilter,
}

PUBLIC: dict[str, Callable[[], nn.Module]] = {
    name: partial(seeded, make) for name, make in CLASSES.items()
}

SHAPES: dict[str, Shape | tuple[Shape, ...]] = {
    "noise map denoiser": ((1, 3, 32, 32), (1, 1, 16, 16)),
    "guided filter": ((1, 3, 32, 32), (1, 3, 32, 32)),
    "srresnet x4": (1, 3, 16, 24),
    "edsr x4": (1, 3, 24, 16),
    "dncnn": (2, 3, 24, 40),
}


def shape_of(name: str) -> Shape | tuple[Shape, ...]:
    """What a public network is fed: one (N, C, H, W), or several in the order of its arguments."""
    return SHAPES.get(name, SHAPE)


def inputs_of(
    shape: Shape | tuple[Shape, ...], seed: int = 0, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """Random inputs of these shapes."""
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(each, generator=generator, dtype=dtype) for each in shapes]

"""All public networks by name, and the shapes of their inputs.

PUBLIC[name]() makes a network with small widths and random weights, in eval mode. SHAPES has the
input shapes of some; all others have one input of SHAPE.
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


def build_with_seed(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return a network in eval mode whose weights and statistics depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | nn.LayerNorm):
                scramble(layer)
    return network.eval()


def scramble(layer: nn.Module) -> None:
    """Set random statistics and scales, so that the layer is not an identity."""
    with torch.no_grad():
        for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
            if tensor.is_floating_point():
                low, high = (-0.5, 0.5) if name in ("bias", "running_mean") else (0.5, 1.5)
                tensor.uniform_(low, high)


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
    name: partial(build_with_seed, make) for name, make in CLASSES.items()
}

SHAPES: dict[str, Shape | tuple[Shape, ...]] = {
    "noise map denoiser": ((1, 3, 32, 32), (1, 1, 16, 16)),
    "guided filter": ((1, 3, 32, 32), (1, 3, 32, 32)),
    "srresnet x4": (1, 3, 16, 24),
    "edsr x4": (1, 3, 24, 16),
    "dncnn": (2, 3, 24, 40),
}


def input_shape(name: str) -> Shape | tuple[Shape, ...]:
    """Return the input shape of a public network: one (N, C, H, W), or one for each argument."""
    return SHAPES.get(name, SHAPE)


def random_inputs(
    shape: Shape | tuple[Shape, ...], seed: int = 0, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """Return random inputs of these shapes."""
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(size, generator=generator, dtype=dtype) for size in shapes]

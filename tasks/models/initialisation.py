"""New weights for any of the backbones, also after surgery.

He initialisation for LeakyReLU(0.2); transposed convolutions, which no activation follows, with std
sqrt(1 / c_in); zero bias. PyTorch's default lets the signal vanish over the nineteen layers of the
U-Net: 0.5 to 3.6 dB are lost in short trainings. A layer whose output is added to something is
given a gain below one where it is made, so that sums do not grow from block to block.

Layers of other kinds, which networks of the user's own have, are reset by their `reset_parameters`
(torch's normalisations, Linear, PReLU, and any module that defines one). A weight that belongs to a
module without one stays as it is.
"""

import math
from typing import TypeVar

import torch
from torch import Generator, nn

SLOPE = 0.2
Layer = TypeVar("Layer", bound=nn.Module)


def with_gain(layer: Layer, gain: float) -> Layer:
    """The layer, with a factor for its first weights, which copies and surgery carry along."""
    layer.gain = gain  # type: ignore[assignment]
    return layer


def initialise(model: nn.Module, generator: Generator) -> None:
    """New weights in place; all randomness from `generator` (CPU)."""
    for layer in model.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(
                layer.weight, std=math.sqrt(layer.groups / layer.in_channels), generator=generator
            )
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, generator=generator)
            layer.weight.data.mul_(getattr(layer, "gain", 1.0))
        elif callable(reset := getattr(layer, "reset_parameters", None)):
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
                reset()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)

"""Initialisation of the weights of any backbone, also after surgery.

He initialisation for LeakyReLU(0.2); transposed convolutions, which no activation follows, get a
standard deviation of sqrt(1 / c_in); biases are zero. With PyTorch's default the signal vanishes
over the nineteen layers of the U-Net, which costs 0.5 to 3.6 dB in short trainings. A layer whose
output is added to another tensor gets a gain below one when the network is built, so that sums do
not grow from block to block.

Layers of other types, which a user's own network may have, are reset by their `reset_parameters`
(torch's normalisations, Linear, PReLU, and any module that defines it). Weights of a module without
this method stay as they are.
"""

import math
from typing import TypeVar

import torch
from torch import Generator, nn

SLOPE = 0.2
# Of a layer that no activation follows, which would halve the variance.
LINEAR_GAIN = math.sqrt(0.5)
Layer = TypeVar("Layer", bound=nn.Module)


def set_gain(layer: Layer, gain: float) -> Layer:
    """Set a factor for the initial weights of a layer; copies and surgery preserve it.

    Returns:
        The same layer.
    """
    layer.gain = gain  # type: ignore[assignment]
    return layer


def initialise(model: nn.Module, generator: Generator) -> None:
    """Draw new weights in place; all randomness comes from `generator` (CPU)."""
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

"""The hypernetwork of DHP: the weights of every layer, generated from the latent vectors of its input and its output.

    A = z a^T + B0          (c_out, c_in)            a, z: latents of the input and output channels
    E = A * W1 + B1         (c_out, c_in, m)
    O = W2 E + B2           (c_out, c_in, k*k)       the weight of each pair of channels

A latent belongs to a place of the layout, so layers share it as they share channels: tied layers and both readers of a skip have one, the
r * r filters of a channel behind PixelShuffle repeat theirs. Channels that cannot be removed have a latent that never shrinks, one for each
layer. W1 and W2 start uniform, so that a generated weight has the variance mean(a**2) mean(z**2) / (c_in k*k), all B at zero, biases too.

Biases, normalisations, depthwise convolutions and free weights are not generated: they are trained as in any network.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.memory.layout import STAYS, Layout
from bench.surgery.masks import output_slices


class LayerWeights(nn.Module):
    """Generates the weight of one layer.

    Args:
        layer: whose weight it is.
        outputs, inputs: int64, where the latents of its output and input channels are; those of a group are alike.
        embedding: m.
        draws: of the start.
    """

    outputs: Tensor
    inputs: Tensor

    def __init__(self, layer: nn.Module, outputs: Tensor, inputs: Tensor, embedding: int, draws: torch.Generator) -> None:
        super().__init__()
        weight, self.axis = output_slices(layer)
        self.kernel = weight.shape[2:]
        pixels, pair = math.prod(self.kernel), (weight.shape[self.axis], weight.shape[1 - self.axis])
        self.register_buffer("outputs", outputs[: pair[0]])
        self.register_buffer("inputs", inputs[: pair[1]])

        def uniform(bound: float, *shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(*shape, generator=draws) - 1).to(weight.device) * bound)

        self.w1 = uniform(3**0.5, *pair, embedding)
        self.w2 = uniform((3 / (embedding * pair[1] * pixels)) ** 0.5, *pair, pixels, embedding)
        self.b0, self.b1, self.b2 = (uniform(0.0, *pair, *more) for more in ((), (embedding,), (pixels,)))

    def forward(self, latents: Tensor) -> Tensor:
        """The weight, as the layer has it."""
        outer = torch.outer(latents[self.outputs], latents[self.inputs]) + self.b0
        embedded = outer[..., None] * self.w1 + self.b1
        pairs = (self.w2 @ embedded[..., None])[..., 0] + self.b2
        return pairs.unflatten(2, self.kernel).movedim(0, self.axis) if self.kernel else pairs[..., 0]


class Hypernetwork(nn.Module):
    """Owns all that is trained of a network; itself it is never called.

    Args:
        network: runs with generated weights; what is not generated is its own.
        channels: its layout.
        embedding: m.
        seed: of the start.
    """

    def __init__(self, network: nn.Module, channels: Layout, embedding: int, seed: int) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        count, self.names, device = channels.size, [f"{layer}.weight" for layer in channels.makes], next(network.parameters()).device
        self.layers = nn.ModuleList()
        for path in channels.makes:
            layer = network.get_submodule(path)
            outputs, count = numbered(channels.makes[path], count)
            inputs, count = numbered(channels.reads[path], count)
            self.layers.append(LayerWeights(layer, outputs.to(device), inputs.to(device), embedding, draws))
            if isinstance(layer.bias, Tensor):
                nn.init.zeros_(layer.bias)
        self.latents = nn.Parameter(torch.randn(count, generator=draws).to(device))
        self.free = nn.ParameterList(weight for name, weight in network.named_parameters() if name not in self.names)

    def weights(self) -> dict[str, Tensor]:
        """Name -> generated weight."""
        return {name: layer(self.latents) for name, layer in zip(self.names, self.layers, strict=True)}

    def run(self, network: nn.Module, degraded: Tensor) -> Tensor:
        """What the network restores with the generated weights, (N, C, H, W)."""
        restored: Tensor = functional_call(network, self.weights(), (degraded,))
        return restored


def numbered(places: np.ndarray, start: int) -> tuple[Tensor, int]:
    """Places as numbers of latents, and the next free number; channels that stay get numbers of their own from `start` on."""
    fixed = places == STAYS
    return torch.from_numpy(np.where(fixed, start + fixed.cumsum() - 1, places)), start + int(fixed.sum())

"""The hypernetwork of DHP: the weights of every layer, generated from the latent vectors of its input and its output.

    A = z a^T + B0          (c_out, c_in)            a, z: latents of the input and output channels
    E = A * W1 + B1         (c_out, c_in, m)
    O = W2 E + B2           (c_out, c_in, k*k)       the weight of each pair of channels

A latent belongs to a place of the layout, so layers share it as they share channels: tied layers and both readers of a skip have one, the
r * r filters of a channel behind PixelShuffle repeat theirs. Channels that cannot be removed have a latent that never shrinks, one for each
layer. W1 and W2 start uniform, so that a generated weight has the variance mean(a**2) mean(z**2) / (c_in k*k), all B at zero, biases too.

Biases, normalisations, depthwise convolutions and free weights are not generated: they are trained as in any network. Frozen layers stay.
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
        pairs = (self.w2 @ self.embedded(latents)[..., None])[..., 0] + self.b2
        return pairs.unflatten(2, self.kernel).movedim(0, self.axis) if self.kernel else pairs[..., 0]

    def embedded(self, latents: Tensor) -> Tensor:
        """E, (c_out, c_in, m)."""
        return (torch.outer(latents[self.outputs], latents[self.inputs]) + self.b0)[..., None] * self.w1 + self.b1

    def reproduce(self, weight: Tensor, latents: Tensor) -> None:
        """Sets W2 to the smallest that generates `weight`."""
        pairs, embedded = weight.movedim(self.axis, 0).flatten(2), self.embedded(latents)
        if not self.kernel:
            pairs = pairs[..., None]
        self.w2.copy_(pairs[..., None] * embedded[:, :, None] / embedded.square().sum(-1)[..., None, None])


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
        paths = [path for path in channels.makes if network.get_parameter(f"{path}.weight").requires_grad]
        count, self.names, device = channels.size, [f"{path}.weight" for path in paths], next(network.parameters()).device
        self.layers = nn.ModuleList()
        for path in paths:
            layer = network.get_submodule(path)
            outputs, count = numbered(channels.makes[path], count)
            inputs, count = numbered(channels.reads[path], count)
            self.layers.append(LayerWeights(layer, outputs.to(device), inputs.to(device), embedding, draws))
        self.latents = nn.Parameter(torch.randn(count, generator=draws).to(device))
        self.free = nn.ParameterList(weight for name, weight in network.named_parameters() if name not in self.names)

    @torch.no_grad()
    def reproduce(self, network: nn.Module, norms: Tensor) -> None:
        """Starts at the weights of a network: each latent is a norm, and W2 the smallest that generates the weight.

        Args:
            network: whose weights they are.
            norms: (places,) of the channels, relative to those of their units; what stays has 1.
        """
        self.latents.fill_(1)[: len(norms)] = norms.clamp_min(1e-3)
        for name, layer in zip(self.names, self.layers, strict=True):
            layer.reproduce(network.get_parameter(name), self.latents)  # type: ignore[operator]

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

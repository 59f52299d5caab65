"""The hypernetwork of DHP: the weights of every layer, generated from the latents of its input and its output channels.

    A = a z^T + B0                 a, z: latents of one input and one output channel        for each pair of them a number,
    E = A * W1 + B1                                                                         a vector of m,
    O = W2 E + B2                                                                           the k*k weights between the two

A latent belongs to a place of the layout, so layers share latents as they share channels: tied
layers and both readers of a skip have one, the r * r channels behind one of PixelShuffle repeat
theirs. Channels that cannot be removed have latents that never shrink, one set for each layer. W1
and W2 start uniform, so that a generated weight has the variance mean(a**2) mean(z**2) / (c_in
k*k), c_in the channels of the whole input, in a grouped convolution of one group. Latents start
normal, all B at zero, and the biases of the layers too.

Biases, normalisations, depthwise convolutions and free weights are not generated: they are trained
as in any network. Frozen layers stay.

All numbers that make a weight move at once and in step, so that Adam moves it by about 1 + sum |E|
= 6 times the learning rate. The paper's rate is 1e-4; at one that suits a plain network (2e-3) the
loss of a U-Net of width 8 went to 1e5 within 200 steps. So W1, W2 and all B are stored divided by a
`pace`: Adam moves what is stored by the rate, and what it stands for by `pace` times the rate.
Latents, and what is not generated, keep the rate.

Eleven numbers are trained for each weight of a 3x3 convolution and most of them are in W2, so a
step is as slow as memory is. Axes lie as the convolution reads its weight in channels_last (rows,
pixels, columns; a row is an output channel, in transposed convolutions an input channel), m
outermost; W2 has three axes, because training puts tensors of four into another order.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.channels.units import STAYS, Layout
from bench.surgery.masks import input_slices


class Mixed(torch.autograd.Function):
    """sum over m of w2[m] * embedded[m]: (m, rows, pixels, columns) and (m, rows, 1, columns) -> (rows, pixels, columns).

    The sum that autograd would take the long way: no product of W2's size is written, forwards or
    backwards.
    """

    @staticmethod
    def forward(ctx: Any, w2: Tensor, embedded: Tensor) -> Tensor:
        """The sum."""
        ctx.save_for_backward(w2, embedded)
        mixed = w2[0] * embedded[0]
        for one, other in zip(w2[1:], embedded[1:], strict=True):
            mixed.addcmul_(one, other)
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Of w2, and of what is embedded."""
        (w2, embedded), (gradient,) = ctx.saved_tensors, gradients
        return gradient * embedded, torch.stack(
            [(gradient * one).sum(1, keepdim=True) for one in w2]
        )


class LayerWeights(nn.Module):
    """Generates the weight of one layer.

    Args:
        layer: whose weight it is.
        outputs, inputs: int64, where the latents of its output and input channels are; those of all
            groups are alike.
        embedding: m.
        pace: of the training, as a share of the learning rate.
        draws: of the start.
    """

    of_rows: Tensor
    of_columns: Tensor

    def __init__(
        self,
        layer: nn.Module,
        outputs: Tensor,
        inputs: Tensor,
        embedding: int,
        pace: float,
        draws: torch.Generator,
    ) -> None:
        super().__init__()
        self.pace = pace
        weight, axis = input_slices(layer)
        rows, columns, *self.kernel = weight.shape
        of_rows, of_columns = (outputs, inputs) if axis else (inputs, outputs)
        self.register_buffer("of_rows", of_rows[:rows].to(weight.device))
        self.register_buffer("of_columns", of_columns[:columns].to(weight.device))
        self.pixels = math.prod(self.kernel)
        fan_in = self.pixels * (columns if axis else rows // getattr(layer, "groups", 1))

        def uniform(variance: float, *shape: int) -> nn.Parameter:
            return nn.Parameter(
                (torch.rand(shape, generator=draws) * 2 - 1)
                .mul_((3 * variance) ** 0.5 / pace)
                .to(weight.device)
            )

        self.w1 = uniform(1, embedding, rows, columns)
        self.w2 = uniform(1 / (embedding * fan_in), embedding, rows, self.pixels * columns)
        self.b0 = nn.Parameter(weight.new_zeros(rows, columns))
        self.b1 = nn.Parameter(weight.new_zeros(embedding, rows, columns))
        self.b2 = nn.Parameter(weight.new_zeros(rows, self.pixels * columns))

    def forward(self, latents: Tensor) -> Tensor:
        """The weight, as the layer has it, from all latents."""
        embedded = self._embedded(latents)[:, :, None]
        pairs = Mixed.apply(self.w2.unflatten(2, (self.pixels, -1)), embedded) + self.b2.unflatten(
            1, (self.pixels, -1)
        )
        weight: Tensor = (self.pace * pairs).movedim(1, 2)
        return weight.unflatten(2, self.kernel) if self.kernel else weight[..., 0]

    def reproduce(self, weight: Tensor, latents: Tensor) -> None:
        """Sets W2 to the smallest that generates `weight` from these latents."""
        pairs, embedded = (
            weight.reshape(*weight.shape[:2], self.pixels).movedim(2, 1) / self.pace,
            self._embedded(latents),
        )
        self.w2.copy_((pairs * (embedded / embedded.square().sum(0))[:, :, None]).flatten(2))

    def _embedded(self, latents: Tensor) -> Tensor:
        """E, (m, rows, columns)."""
        outer = torch.outer(latents[self.of_rows], latents[self.of_columns]) + self.pace * self.b0
        return self.pace * (outer * self.w1 + self.b1)


class Hypernetwork(nn.Module):
    """Owns all that is trained of a network; itself it is never called.

    Args:
        network: runs with generated weights; what is not generated is its own.
        channels: its layout.
        embedding: m.
        pace: of the training of what generates weights, as a share of the learning rate.
        seed: of the start.
    """

    def __init__(
        self, network: nn.Module, channels: Layout, embedding: int, pace: float, seed: int
    ) -> None:
        super().__init__()
        draws, count = torch.Generator().manual_seed(seed), channels.size
        own = {
            name: weight for name, weight in network.named_parameters() if weight.requires_grad
        }  # a shared one once
        self.layers, self.names = nn.ModuleList(), []
        for path, places in channels.makes.items():
            layer, name = network.get_submodule(path), f"{path}.weight"
            if name not in own:
                continue
            outputs, count = numbered(places, count)
            inputs, count = numbered(channels.reads[path], count)
            self.layers.append(LayerWeights(layer, outputs, inputs, embedding, pace, draws))
            self.names.append(name)
        self.latents = nn.Parameter(
            torch.randn(count, generator=draws).to(next(network.parameters()).device)
        )
        self.free = nn.ParameterList(
            weight for name, weight in own.items() if name not in self.names
        )

    @torch.no_grad()
    def reproduce(self, network: nn.Module, norms: Tensor) -> None:
        """Starts at the weights of a network.

        Args:
            network: whose weights they are.
            norms: (places,) of the channels, relative to those of their units: the latents; what
                stays has 1.
        """
        self.latents.fill_(1)[: len(norms)] = norms.clamp_min(1e-3)
        for name, layer in zip(self.names, self.layers, strict=True):
            layer.reproduce(network.get_parameter(name), self.latents)  # type: ignore[operator]

    @torch.no_grad()
    def zero_biases(self, network: nn.Module) -> None:
        """Those of the layers whose weights are generated."""
        for name in self.names:
            bias = network.get_submodule(name.removesuffix(".weight")).bias
            if isinstance(bias, Tensor):
                bias.zero_()

    def weights(self) -> dict[str, Tensor]:
        """Name -> generated weight."""
        return {
            name: layer(self.latents) for name, layer in zip(self.names, self.layers, strict=True)
        }

    def run(self, network: nn.Module, degraded: Tensor) -> Tensor:
        """What the network restores with the generated weights, (N, C, H, W)."""
        restored: Tensor = functional_call(network, self.weights(), (degraded,))
        return restored

    @torch.no_grad()
    def write(self, network: nn.Module) -> None:
        """Gives the network the generated weights, for good."""
        for name, weight in self.weights().items():
            network.get_parameter(name).copy_(weight)


def numbered(places: np.ndarray, start: int) -> tuple[Tensor, int]:
    """Places as numbers of latents, and the next free number; channels that stay get numbers of their own from `start` on."""
    fixed = places == STAYS
    return torch.from_numpy(np.where(fixed, start + fixed.cumsum() - 1, places)), start + int(
        fixed.sum()
    )

"""The hypernetwork of DHP: the weights of every layer, generated from the latents of its channels.

For each pair of an input and an output channel, with latents a and z:

    A = a z^T + B0                 a number,
    E = A * W1 + B1                a vector of m,
    O = W2 E + B2                  the k*k weights between the two channels

A latent belongs to a slot of the layout, so layers share latents as they share channels: tied
layers and both readers of a skip have the same ones, and the r * r channels behind one of
PixelShuffle repeat theirs. Channels that cannot be removed have latents that never shrink, one set
for each layer. W1 and W2 start uniform, so that a generated weight has the variance mean(a**2)
mean(z**2) / (c_in k*k), where c_in counts the channels of the whole input, in a grouped convolution
those of one group. Latents start normal, all B at zero, and the biases of the layers too.

Biases, normalisations, depthwise convolutions and bare weights are not generated: they are trained
as in any network. Frozen layers stay as they are.

All numbers that a weight is made from move at once and in step, so that Adam moves it by about
1 + sum |E| = 6 times the learning rate. The paper's rate is 1e-4; at a rate that suits a plain
network (2e-3) the loss of a U-Net of width 8 rose to 1e5 within 200 steps. So W1, W2 and all B are
stored divided by a `pace`: Adam moves the stored numbers by the rate, and their values by `pace`
times the rate. Latents, and all that is not generated, keep the rate.

Eleven numbers are trained for each weight of a 3x3 convolution, most of them in W2, so memory
bandwidth limits the speed of a step. The axes are ordered as the convolution reads its weight in
channels_last (rows, pixels, columns; a row is an output channel, in transposed convolutions an
input channel), m outermost; W2 has three axes, because training reorders tensors of four.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.channels.units import STAYS, Layout
from bench.surgery.masks import weight_and_input_axis


class WeightedSum(torch.autograd.Function):
    """The sum over m of w2[m] * embedded[m], without storing the products.

    (m, rows, pixels, columns) and (m, rows, 1, columns) -> (rows, pixels, columns). Autograd would
    write a product of W2's size, forwards and backwards.
    """

    @staticmethod
    def forward(ctx: Any, w2: Tensor, embedded: Tensor) -> Tensor:
        """Return the sum."""
        ctx.save_for_backward(w2, embedded)
        total = w2[0] * embedded[0]
        for weights, factors in zip(w2[1:], embedded[1:], strict=True):
            total.addcmul_(weights, factors)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of w2 and of the embedding."""
        w2, embedded = ctx.saved_tensors
        (gradient,) = gradients
        of_embedded = [(gradient * weights).sum(1, keepdim=True) for weights in w2]
        return gradient * embedded, torch.stack(of_embedded)


class LayerWeights(nn.Module):
    """Generates the weight of one layer.

    Args:
        layer: the layer.
        outputs: int64, the indices of the latents of its output channels; the same for all groups.
        inputs: the same for its input channels.
        embedding: m.
        pace: of the training, as a share of the learning rate.
        generator: of the initial values.
    """

    row_latents: Tensor
    column_latents: Tensor

    def __init__(
        self,
        layer: nn.Module,
        outputs: Tensor,
        inputs: Tensor,
        embedding: int,
        pace: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.pace = pace
        weight, axis = weight_and_input_axis(layer)
        rows, columns, *self.kernel = weight.shape
        row_latents, column_latents = (outputs, inputs) if axis else (inputs, outputs)
        self.register_buffer("row_latents", row_latents[:rows].to(weight.device))
        self.register_buffer("column_latents", column_latents[:columns].to(weight.device))
        self.pixels = math.prod(self.kernel)
        fan_in = self.pixels * (columns if axis else rows // getattr(layer, "groups", 1))

        def uniform(variance: float, *shape: int) -> nn.Parameter:
            values = torch.rand(shape, generator=generator) * 2 - 1
            return nn.Parameter(values.mul_((3 * variance) ** 0.5 / pace).to(weight.device))

        self.w1 = uniform(1, embedding, rows, columns)
        self.w2 = uniform(1 / (embedding * fan_in), embedding, rows, self.pixels * columns)
        self.b0 = nn.Parameter(weight.new_zeros(rows, columns))
        self.b1 = nn.Parameter(weight.new_zeros(embedding, rows, columns))
        self.b2 = nn.Parameter(weight.new_zeros(rows, self.pixels * columns))

    def forward(self, latents: Tensor) -> Tensor:
        """Return the weight, in the shape of the layer's own, from all latents."""
        embedded = self._embed(latents)[:, :, None]
        w2 = self.w2.unflatten(2, (self.pixels, -1))
        b2 = self.b2.unflatten(1, (self.pixels, -1))
        pairs = WeightedSum.apply(w2, embedded) + b2
        weight: Tensor = (self.pace * pairs).movedim(1, 2)
        return weight.unflatten(2, self.kernel) if self.kernel else weight[..., 0]

    def reproduce(self, weight: Tensor, latents: Tensor) -> None:
        """Set W2 to the smallest one that generates `weight` from these latents."""
        pairs = weight.reshape(*weight.shape[:2], self.pixels).movedim(2, 1) / self.pace
        embedded = self._embed(latents)
        self.w2.copy_((pairs * (embedded / embedded.square().sum(0))[:, :, None]).flatten(2))

    def _embed(self, latents: Tensor) -> Tensor:
        """Return E, (m, rows, columns)."""
        outer = torch.outer(latents[self.row_latents], latents[self.column_latents])
        return self.pace * ((outer + self.pace * self.b0) * self.w1 + self.b1)


class Hypernetwork(nn.Module):
    """Owns all trained parameters of a network; it is never called itself.

    Args:
        network: runs with generated weights; what is not generated is its own.
        layout: of the network.
        embedding: m.
        pace: of the training of the parameters that generate weights, as a share of the learning
            rate.
        seed: of the initial values.
    """

    def __init__(
        self, network: nn.Module, layout: Layout, embedding: int, pace: float, seed: int
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        count = layout.size
        # A weight that several layers share is listed once.
        own = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self.layers = nn.ModuleList()
        self.names: list[str] = []
        for path, slots in layout.makes.items():
            name = f"{path}.weight"
            if name not in own:
                continue
            layer = network.get_submodule(path)
            outputs, count = number_latents(slots, count)
            inputs, count = number_latents(layout.reads[path], count)
            self.layers.append(LayerWeights(layer, outputs, inputs, embedding, pace, generator))
            self.names.append(name)
        latents = torch.randn(count, generator=generator)
        self.latents = nn.Parameter(latents.to(next(network.parameters()).device))
        self.free = nn.ParameterList(
            weight for name, weight in own.items() if name not in self.names
        )

    @torch.no_grad()
    def reproduce(self, network: nn.Module, latents: Tensor) -> None:
        """Start from the weights of a network.

        Args:
            network: the network.
            latents: (slots,), of the channels that can be removed; those of the others become 1.
        """
        self.latents.fill_(1)[: len(latents)] = latents
        for name, layer in zip(self.names, self.layers, strict=True):
            layer.reproduce(network.get_parameter(name), self.latents)  # type: ignore[operator]

    @torch.no_grad()
    def zero_biases(self, network: nn.Module) -> None:
        """Zero the biases of the layers whose weights are generated."""
        for name in self.names:
            bias = network.get_submodule(name.removesuffix(".weight")).bias
            if isinstance(bias, Tensor):
                bias.zero_()

    def generate_weights(self) -> dict[str, Tensor]:
        """Return the generated weights by name."""
        layers = zip(self.names, self.layers, strict=True)
        return {name: layer(self.latents) for name, layer in layers}

    def run(self, network: nn.Module, degraded: Tensor) -> Tensor:
        """Return the network's output with the generated weights, (N, C, H, W)."""
        restored: Tensor = functional_call(network, self.generate_weights(), (degraded,))
        return restored

    @torch.no_grad()
    def write_weights(self, network: nn.Module) -> None:
        """Write the generated weights into the network."""
        for name, weight in self.generate_weights().items():
            network.get_parameter(name).copy_(weight)


def number_latents(slots: np.ndarray, start: int) -> tuple[Tensor, int]:
    """Return the indices of the latents of a layer's channels, and the next free index.

    Channels that cannot be removed get indices of their own, from `start` on.
    """
    fixed = slots == STAYS
    indices = np.where(fixed, start + fixed.cumsum() - 1, slots)
    return torch.from_numpy(indices), start + int(fixed.sum())

"""Scales: every layer that makes channels of units, written as length times direction, with one length for each output channel.

    W_j = gamma_j V_j / ||V_j||,     at the start gamma_j = ||W_j||, V_j = W_j: the network computes the same

Both are trained. |gamma| says how much a channel matters, and a channel whose gamma and bias are
zero can go without a change. V_j is all that makes an output channel; in a transposed convolution
it lies along the second axis. Of the channels of a layer that share a place (behind PixelShuffle,
in a grouped convolution) each has a gamma of its own; the place counts as their root mean square.

More than gamma must be zero for a channel to be gone: its bias, and what the layers that follow
keep for it (scale and shift of a normalisation, a depthwise kernel). In a network without such
layers these are the gammas and biases of the paper.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from bench.channels.units import Layout
from bench.surgery.masks import output_slices
from bench.surgery.shared_weights import weight_axes

GAMMA, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
LEAST_SQUARE = 1e-24  # below it the gradient of a root is zero, not infinite


class Scales:
    """A network with its scales apart.

    Args:
        model: left untouched.
        channels: its layout.
        device: where it will be trained.

    Attributes:
        network: a copy of the model, reparametrised.
    """

    def __init__(self, model: nn.Module, channels: Layout, device: torch.device) -> None:
        self.network, self.channels, self.device = deepcopy(model).to(device), channels, device
        self.layers = tuple(
            dict.fromkeys(layer for unit in channels.units.values() for layer in unit.layers)
        )
        self._entries = self._beside_gamma()
        for layer in self.layers:
            axis = output_slices(self.network.get_submodule(layer))[1]
            _reparametrise(self.network.get_submodule(layer), axis)
            self._entries[f"{layer}.{GAMMA}"] = axis, self._placed(channels.makes[layer])

    def gammas(self, layer: str) -> tuple[Tensor, Tensor]:
        """(C,) of all output channels of a layer: gamma, and its place."""
        return self.network.get_parameter(f"{layer}.{GAMMA}").flatten(), self._entries[
            f"{layer}.{GAMMA}"
        ][1]

    def strengths(self, unit: str, layer: str) -> Tensor:
        """(C,) of the places of a unit: |gamma| of one layer, differentiable."""
        gamma, places = self.gammas(layer)
        squares, members = gamma.new_zeros(2, self.channels.size + 1).unbind()
        mean = squares.index_add(0, places, gamma.square()) / members.index_add(
            0, places, torch.ones_like(gamma)
        ).clamp_min(1)
        return mean.clamp_min(LEAST_SQUARE).sqrt()[self.channels.places(unit)]

    def penalty(self, coefficients: Tensor) -> Tensor:
        """A scalar: the sum of alpha / 2 x**2 over all that must be zero for a channel to be gone.

        Args:
            coefficients: (places + 1,), alpha of each place; the last, of what always stays, is
                zero.
        """
        terms = []
        for name, (axis, places) in self._entries.items():
            squares = (
                self.network.get_parameter(name)
                .movedim(axis, 0)
                .reshape(len(places), -1)
                .square()
                .sum(1)
            )
            terms.append(coefficients[places] @ squares / 2)
        return torch.stack(terms).sum()

    def shrink(self, factors: Tensor) -> None:
        """The same entries, times the factor (places + 1,) of their place."""
        with torch.no_grad():
            for name, (axis, places) in self._entries.items():
                self.network.get_parameter(name).movedim(axis, -1).mul_(factors[places])

    def merged(self, model: nn.Module) -> nn.Module:
        """A plain copy of the model that this network was made from, with this network's weights."""
        state = {
            name: tensor
            for name, tensor in self.network.state_dict().items()
            if not name.endswith((GAMMA, DIRECTION))
        }
        plain = deepcopy(
            model
        )  # one that never had a hook: taking the scales off would leave one of weight_norm's behind
        plain.load_state_dict(
            state
            | {
                f"{layer}.weight": output_slices(self.network.get_submodule(layer))[0]
                for layer in self.layers
            }
        )
        return plain

    def _beside_gamma(self) -> dict[str, tuple[int, Tensor]]:
        """Name of a weight that has an entry for each channel -> axis of the entries, places (C,)."""
        mixing = {f"{layer}.weight" for layer in {**self.channels.makes, **self.channels.reads}}
        entries = dict(self.network.named_parameters()).keys() - mixing
        rows = {
            name: next(iter(axes.items()))
            for name, axes in weight_axes(self.network, self.channels).items()
            if name in entries
        }
        return {
            name: (axis, self._placed(places))
            for name, (axis, places) in rows.items()
            if (places >= 0).any()
        }

    def _placed(self, places: np.ndarray) -> Tensor:
        return torch.from_numpy(places % (self.channels.size + 1)).to(self.device)


def _reparametrise(layer: nn.Module, axis: int) -> None:
    weight_norm(layer, dim=axis)
    with torch.no_grad():  # a channel of zeros has no direction: any will do
        layer.get_parameter(DIRECTION).masked_fill_(layer.get_parameter(GAMMA) == 0, 1.0)

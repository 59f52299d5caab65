"""Scales: write layers as length times direction, with one length for each output channel.

    W_j = gamma_j V_j / ||V_j||,     at the start gamma_j = ||W_j||, V_j = W_j: same outputs

Every layer that computes channels of units is written so, and both factors are trained. |gamma|
says how important a channel is, and a channel whose gamma and bias are zero can be removed without
a change. V_j contains all weights that compute an output channel; in a transposed convolution it
lies along the second axis. Channels of a layer that share a slot (behind PixelShuffle, in a grouped
convolution) each have a gamma of their own; the slot counts as their root mean square.

More than gamma must be zero for a channel to be without effect: its bias, and what the layers that
follow store for it (scale and shift of a normalisation, a depthwise kernel). In a network without
such layers these are the gammas and biases of the paper.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from bench.channels.units import Layout
from bench.surgery.masks import weight_and_output_axis
from bench.surgery.shared_weights import weight_axes

GAMMA, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
MIN_SQUARE = 1e-24  # clamped before the root, whose gradient at 0 is infinite


class Scales:
    """A reparametrised copy of a network.

    Args:
        model: left untouched.
        layout: of the network.
        device: of the copy, for training.

    Attributes:
        network: the copy, with gammas and directions as parameters.
    """

    def __init__(self, model: nn.Module, layout: Layout, device: torch.device) -> None:
        self.network = deepcopy(model).to(device)
        self.layout = layout
        self.device = device
        self.layers = tuple(
            dict.fromkeys(layer for unit in layout.units.values() for layer in unit.layers)
        )
        self._entries = self._find_other_entries()
        for layer in self.layers:
            axis = weight_and_output_axis(self.network.get_submodule(layer))[1]
            _reparametrise(self.network.get_submodule(layer), axis)
            self._entries[f"{layer}.{GAMMA}"] = axis, self._slot_index(layout.makes[layer])

    def gammas(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return gamma and slot of each output channel of a layer, (C,) each."""
        name = f"{layer}.{GAMMA}"
        slots = self._entries[name][1]
        return self.network.get_parameter(name).flatten(), slots

    def strengths(self, unit: str, layer: str) -> Tensor:
        """Return |gamma| of one layer for each slot of a unit, (C,), differentiable."""
        gamma, slots = self.gammas(layer)
        squares, members = gamma.new_zeros(2, self.layout.size + 1).unbind()
        squares = squares.index_add(0, slots, gamma.square())
        members = members.index_add(0, slots, torch.ones_like(gamma))
        mean = squares / members.clamp_min(1)
        return mean.clamp_min(MIN_SQUARE).sqrt()[self.layout.slots(unit)]

    def penalty(self, coefficients: Tensor) -> Tensor:
        """Return the sum of alpha / 2 x**2 over all entries that must become zero, a scalar.

        Args:
            coefficients: (slots + 1,), alpha of each slot; the last one, of all channels that
                always stay, is zero.
        """
        terms = []
        for name, (axis, slots) in self._entries.items():
            rows = self.network.get_parameter(name).movedim(axis, 0).reshape(len(slots), -1)
            squares = rows.square().sum(1)
            terms.append(coefficients[slots] @ squares / 2)
        return torch.stack(terms).sum()

    def shrink(self, factors: Tensor) -> None:
        """Multiply the same entries, in place, by the factor of their slot, (slots + 1,)."""
        with torch.no_grad():
            for name, (axis, slots) in self._entries.items():
                self.network.get_parameter(name).movedim(axis, -1).mul_(factors[slots])

    def merge(self, model: nn.Module) -> nn.Module:
        """Return a plain copy of the original model with the weights of this network."""
        state = {
            name: tensor
            for name, tensor in self.network.state_dict().items()
            if not name.endswith((GAMMA, DIRECTION))
        }
        for layer in self.layers:
            weight, _ = weight_and_output_axis(self.network.get_submodule(layer))
            state[f"{layer}.weight"] = weight
        # A copy of the original, because removing the scales would leave a hook of weight_norm.
        plain = deepcopy(model)
        plain.load_state_dict(state)
        return plain

    def _find_other_entries(self) -> dict[str, tuple[int, Tensor]]:
        """Return the entries besides gamma that belong to a channel.

        Returns:
            Name of the weight -> axis of its entries, and their slots, (C,).
        """
        mixing = {f"{layer}.weight" for layer in {**self.layout.makes, **self.layout.reads}}
        entries = dict(self.network.named_parameters()).keys() - mixing
        found = {}
        for name, axes in weight_axes(self.network, self.layout).items():
            axis, slots = next(iter(axes.items()))
            if name in entries and (slots >= 0).any():
                found[name] = axis, self._slot_index(slots)
        return found

    def _slot_index(self, slots: np.ndarray) -> Tensor:
        """Return slots as an index into (slots + 1,), on the device of the network."""
        return torch.from_numpy(slots % (self.layout.size + 1)).to(self.device)


def _reparametrise(layer: nn.Module, axis: int) -> None:
    """Write the weight of a layer as length times direction along an axis."""
    weight_norm(layer, dim=axis)
    with torch.no_grad():  # a channel of zeros has no direction: give it any
        layer.get_parameter(DIRECTION).masked_fill_(layer.get_parameter(GAMMA) == 0, 1.0)

"""Shared weights: run a network at any widths with slices of one set of weights.

    restored = SlicedNetwork(model, layout)(kept, degraded)

Gradients reach the whole weights and are zero outside the slices. The slices are those that surgery
would leave: after a concat, the kept part of each segment; behind PixelShuffle, the r * r filters
of each kept channel; numbers in the calls of a traced network are rewritten as in surgery. So the
output is that of `remove_channels(model, kept, ...)`, without copying the network, and the cost is
that of the narrow network.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.channels.units import Layout
from bench.contract import Kept
from bench.graph.rewrite import forward_with_numbers, run_forward
from bench.surgery.masks import weight_and_input_axis, weight_and_output_axis

MAX_CACHED_WIDTHS = 64
# Weight, axis, and the remaining entries: the first so many, or their indices, int64.
Cut = tuple[str, int, int | Tensor]
# Layers that follow the channels of others and read the number of channels from an attribute.
COUNT_ATTRIBUTES: dict[type[nn.Module], str] = {
    nn.Conv2d: "groups",
    nn.ConvTranspose2d: "groups",
    nn.LayerNorm: "normalized_shape",
    nn.RMSNorm: "normalized_shape",
    nn.InstanceNorm1d: "num_features",
    nn.InstanceNorm2d: "num_features",
}


class SlicedNetwork:
    """Runs a network at any widths.

    Args:
        model: owns the weights.
        layout: of the network.
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        self.model, self.layout = model, layout
        self.axes = weight_axes(model, layout)
        self.channel_counts = _find_channel_counts(model, layout)
        self._cuts: dict[tuple[bytes, torch.device], list[Cut]] = {}
        self._forwards: dict[bytes, Callable[..., Any]] = {}

    def __call__(self, kept: Kept, *inputs: Tensor) -> Tensor:
        """Run the network with the kept channels only, in its present mode.

        Args:
            kept: unit -> channels that stay.
            inputs: of the network, (N, C, H, W).
        """
        slot_mask = self.layout.slot_mask(kept)
        with self._set_channel_counts(slot_mask), self._set_numbers(slot_mask):
            restored: Tensor = functional_call(self.model, self._slice_weights(slot_mask), inputs)
        return restored

    def _slice_weights(self, slot_mask: np.ndarray) -> dict[str, Tensor]:
        """Return the remaining slice of each weight or buffer that loses something."""
        weights = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        device = next(iter(weights.values())).device
        key = (slot_mask.tobytes(), device)
        if key not in self._cuts:
            if len(self._cuts) >= MAX_CACHED_WIDTHS:  # widths drawn at random seldom come again
                self._cuts.clear()
            self._cuts[key] = self._find_cuts(slot_mask, device)
        slices: dict[str, Tensor] = {}
        for name, axis, entries in self._cuts[key]:
            whole = slices.get(name, weights[name])
            slices[name] = (
                whole.narrow(axis, 0, entries)  # a view
                if isinstance(entries, int)
                else whole.index_select(axis, entries)
            )
        return slices

    def _find_cuts(self, slot_mask: np.ndarray, device: torch.device) -> list[Cut]:
        """Return the cut of each axis that loses something."""
        return [
            (name, axis, _find_entries(slot_mask[slots], device))
            for name, axes in self.axes.items()
            for axis, slots in axes.items()
            if not slot_mask[slots].all()
        ]

    def _set_numbers(self, slot_mask: np.ndarray) -> AbstractContextManager[None]:
        """Return a context in which the calls of a traced network have the numbers of the kept."""
        if not self.layout.rewrites or slot_mask.all():
            return nullcontext()
        traced: Any = self.model
        key = slot_mask.tobytes()
        if key not in self._forwards:
            if len(self._forwards) >= MAX_CACHED_WIDTHS:
                self._forwards.clear()
            numbers = self.layout.new_numbers(slot_mask)
            self._forwards[key] = forward_with_numbers(traced, numbers)
        return run_forward(traced, self._forwards[key])

    @contextmanager
    def _set_channel_counts(self, slot_mask: np.ndarray) -> Iterator[None]:
        """Set, inside the context, the layers' own channel counts to the kept ones."""
        before = [
            (layer, attribute, getattr(layer, attribute))
            for layer, attribute, _ in self.channel_counts
        ]
        try:
            for layer, attribute, slots in self.channel_counts:
                count = int(slot_mask[slots].sum())
                if count < len(slots):
                    value = (count,) if attribute == "normalized_shape" else count
                    setattr(layer, attribute, value)
            yield
        finally:
            for layer, attribute, old in before:
                setattr(layer, attribute, old)


def _find_entries(kept: np.ndarray, device: torch.device) -> int | Tensor:
    """Return how many entries are kept if they are the first ones, or else their indices."""
    count = int(kept.sum())
    if kept[:count].all():
        return count
    return torch.from_numpy(kept.nonzero()[0]).to(device)


def _find_channel_counts(
    model: nn.Module, layout: Layout
) -> list[tuple[nn.Module, str, np.ndarray]]:
    """Return the layers that count their own channels: layer, attribute, slots of its channels."""
    layers = [
        (layer, layout.followers[name][1])
        for name, layer in model.named_modules()
        if name in layout.followers
    ]
    return [
        (layer, attribute, slots)
        for layer, slots in layers
        for kind, attribute in COUNT_ATTRIBUTES.items()
        if isinstance(layer, kind)
    ]


def weight_axes(model: nn.Module, layout: Layout) -> dict[str, dict[int, np.ndarray]]:
    """Return the slots along each axis of each weight or buffer.

    Returns:
        Name of the weight -> axis -> slots of its entries along that axis.
    """
    axes: dict[str, dict[int, np.ndarray]] = {}

    def add_axis(name: str, tensor: Any, axis: int, slots: np.ndarray) -> None:
        if isinstance(tensor, Tensor) and tensor.ndim > axis and tensor.shape[axis] > 1:
            # All groups of a grouped convolution have the same slots: take those of the first.
            axes.setdefault(name, {})[axis] = slots[: tensor.shape[axis]]

    for layer, slots in layout.reads.items():
        add_axis(f"{layer}.weight", *weight_and_input_axis(model.get_submodule(layer)), slots)
    for layer, slots in layout.makes.items():
        module = model.get_submodule(layer)
        add_axis(f"{layer}.weight", *weight_and_output_axis(module), slots)
        add_axis(f"{layer}.bias", module.bias, 0, slots)
    modules = dict(model.named_modules())
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, (axis, slots) in layout.followers.items():
        follower = modules.get(name)
        if follower is None:
            add_axis(name, tensors.get(name), axis, slots)
            continue
        own = dict(follower.named_parameters(recurse=False))
        own |= dict(follower.named_buffers(recurse=False))
        for own_name, tensor in own.items():
            if tensor.ndim and len(tensor) == len(slots):
                add_axis(f"{name}.{own_name}", tensor, 0, slots)
    return axes

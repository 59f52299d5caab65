"""One set of weights, many widths: a network that runs with the slices of its own weights that belong to some kept channels.

    restored = Sliced(model, channels)(kept, degraded)        gradients reach the whole weights, and are zero outside the slices

The slices are those that surgery would leave: after a concat, the kept part of each segment; behind PixelShuffle, the r * r filters of each
kept channel. So the output is that of `remove(model, kept)`, without copying the network, and its cost is that of the narrow one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.contract import Kept
from bench.memory.layout import Layout
from bench.surgery.masks import input_slices, output_slices

COUNTS = {  # layers that follow the channels of others and look at a number of their own
    nn.Conv2d: "groups",
    nn.ConvTranspose2d: "groups",
    nn.LayerNorm: "normalized_shape",
    nn.InstanceNorm1d: "num_features",
    nn.InstanceNorm2d: "num_features",
}


class Sliced:
    """Runs a network at any widths.

    Args:
        model: owns the weights.
        channels: its layout.
    """

    def __init__(self, model: nn.Module, channels: Layout) -> None:
        self.model, self.channels = model, channels
        self.axes = weight_axes(model, channels)

    def __call__(self, kept: Kept, *inputs: Tensor) -> Tensor:
        """What the network computes with the kept channels: `inputs` (N, C, H, W), in its present mode."""
        with self._told(kept):
            restored: Tensor = functional_call(self.model, self.weights(kept), inputs)
        return restored

    def weights(self, kept: Kept, of: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Name -> the slice that is left of a weight or buffer, for those that lose something.

        Args:
            kept: unit -> channels that stay.
            of: weights in place of the model's own.
        """
        stays, own = self.channels.stays(kept), dict(self.model.named_parameters()) | dict(self.model.named_buffers()) | dict(of or {})
        left: dict[str, Tensor] = dict(of or {})
        for name, axes in self.axes.items():
            for axis, places in axes.items():
                if not (rest := stays[places]).all():
                    index = torch.from_numpy(rest.nonzero()[0]).to(own[name].device)
                    left[name] = left.get(name, own[name]).index_select(axis, index)
        return left

    @contextmanager
    def _told(self, kept: Kept) -> Iterator[None]:
        """Inside, layers that count their own channels know the kept ones."""
        stays, undo = self.channels.stays(kept), []
        for name, (_, places) in self.channels.follows.items():
            layer, count = _layer(self.model, name), int(stays[places].sum())
            attribute = next((attribute for kind, attribute in COUNTS.items() if isinstance(layer, kind)), None)
            if attribute and count < len(places):
                undo.append((layer, attribute, getattr(layer, attribute)))
                setattr(layer, attribute, (count,) if attribute == "normalized_shape" else count)
        try:
            yield
        finally:
            for layer, attribute, value in undo:
                setattr(layer, attribute, value)


def weight_axes(model: nn.Module, channels: Layout) -> dict[str, dict[int, np.ndarray]]:
    """Name of a weight or buffer -> axis -> places of its entries along it."""
    axes: dict[str, dict[int, np.ndarray]] = {}

    def note(name: str, tensor: Any, axis: int, places: np.ndarray) -> None:
        if isinstance(tensor, Tensor) and tensor.ndim > axis and tensor.shape[axis] > 1:
            axes.setdefault(name, {})[axis] = places[: tensor.shape[axis]]  # alike in every group

    for layer, places in channels.reads.items():
        note(f"{layer}.weight", *input_slices(model.get_submodule(layer)), places)
    for layer, places in channels.makes.items():
        module = model.get_submodule(layer)
        note(f"{layer}.weight", *output_slices(module), places)
        note(f"{layer}.bias", module.bias, 0, places)
    for name, (axis, places) in channels.follows.items():
        owner = _layer(model, name)
        if owner is None:
            note(name, dict(model.named_parameters()).get(name, dict(model.named_buffers()).get(name)), axis, places)
            continue
        for own, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)):
            if tensor.ndim and len(tensor) == len(places):
                note(f"{name}.{own}", tensor, 0, places)
    return axes


def _layer(model: nn.Module, name: str) -> nn.Module | None:
    """The layer of that name; None if it is a weight's."""
    return dict(model.named_modules()).get(name)

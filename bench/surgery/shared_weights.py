"""One set of weights, many widths: a network that runs with the slices of its own weights that belong to some kept channels.

    restored = Sliced(model, channels)(kept, degraded)        gradients reach the whole weights, and are zero outside the slices

The slices are those that surgery would leave: after a concat, the kept part of each segment; behind
PixelShuffle, the r * r filters of each kept channel. So the output is that of `remove(model,
kept)`, without copying the network, and its cost is that of the narrow one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.channels.units import Layout
from bench.contract import Kept
from bench.surgery.masks import input_slices, output_slices

COUNTS: dict[
    type[nn.Module], str
] = {  # layers that follow the channels of others and look at a number of their own
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
        self.axes, self.counting = weight_axes(model, channels), _counting(model, channels)

    def __call__(self, kept: Kept, *inputs: Tensor) -> Tensor:
        """What the network computes with the kept channels: `inputs` (N, C, H, W), in its present mode."""
        stays = self.channels.stays(kept)
        with self._told(stays):
            restored: Tensor = functional_call(self.model, self._weights(stays), inputs)
        return restored

    def _weights(self, stays: np.ndarray) -> dict[str, Tensor]:
        """Name -> the slice that is left of a weight or buffer, for those that lose something."""
        own, left = (
            dict(self.model.named_parameters()) | dict(self.model.named_buffers()),
            dict[str, Tensor](),
        )
        for name, axes in self.axes.items():
            for axis, places in axes.items():
                if not (rest := stays[places]).all():
                    index = torch.from_numpy(rest.nonzero()[0]).to(own[name].device)
                    left[name] = left.get(name, own[name]).index_select(axis, index)
        return left

    @contextmanager
    def _told(self, stays: np.ndarray) -> Iterator[None]:
        """Inside, layers that count their own channels know the kept ones."""
        whole = [
            (layer, attribute, getattr(layer, attribute)) for layer, attribute, _ in self.counting
        ]
        try:
            for layer, attribute, places in self.counting:
                count = int(stays[places].sum())
                if count < len(places):
                    setattr(
                        layer, attribute, (count,) if attribute == "normalized_shape" else count
                    )
            yield
        finally:
            for layer, attribute, value in whole:
                setattr(layer, attribute, value)


def _counting(model: nn.Module, channels: Layout) -> list[tuple[nn.Module, str, np.ndarray]]:
    """The layers that look at a number of channels of their own: layer, name of the number, places of its channels."""
    layers = [
        (layer, channels.follows[name][1])
        for name, layer in model.named_modules()
        if name in channels.follows
    ]
    return [
        (layer, attribute, places)
        for layer, places in layers
        for kind, attribute in COUNTS.items()
        if isinstance(layer, kind)
    ]


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
    layers, loose = (
        dict(model.named_modules()),
        dict(model.named_parameters()) | dict(model.named_buffers()),
    )
    for name, (axis, places) in channels.follows.items():
        owner = layers.get(name)
        if owner is None:
            note(name, loose.get(name), axis, places)
            continue
        for own, tensor in (
            *owner.named_parameters(recurse=False),
            *owner.named_buffers(recurse=False),
        ):
            if tensor.ndim and len(tensor) == len(places):
                note(f"{name}.{own}", tensor, 0, places)
    return axes

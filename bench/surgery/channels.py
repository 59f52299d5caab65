"""Removing channels for good. The only door to torch-pruning.

The DependencyGraph of torch-pruning knows which weights of which layers hold a channel; the units, their order and their verification are
ours. Its tracer misreads activations that overwrite their operand, so they work out of place while it looks.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
import torch_pruning
from torch import nn

from bench.contract import Kept, Shape
from bench.errors import ConfigError, PluginError
from bench.memory.graph import trace
from bench.memory.layout import Layout, layout

PROBE = 64  # pixels a side at which torch-pruning runs the network; its groups do not depend on the size


def remove(model: nn.Module, kept: Kept, input_shape: Shape) -> nn.Module:
    """A copy of the network with fewer channels; weights of the kept ones are unchanged.

    Args:
        model: left untouched.
        kept: unit -> sorted indices of the channels that stay; units that are not named keep all.
        input_shape: an (N, C, H, W) that the network accepts.

    Raises:
        ConfigError: a unit or a channel does not exist, or a unit would lose all channels.
        PluginError: the network that comes out does not have the widths that were asked for.
    """
    smaller = deepcopy(model)
    shape = _probe_shape(input_shape)
    before = layout(trace(smaller, shape))
    dropped = {unit: _dropped(unit, indices, before) for unit, indices in kept.items()}
    if not any(dropped.values()):
        return smaller
    layers = dict(smaller.named_modules())
    probe = next(smaller.parameters()).new_zeros(shape)
    with torch.inference_mode(False), torch.enable_grad(), _out_of_place(smaller):
        groups = torch_pruning.DependencyGraph().build_dependency(smaller, (probe,))
        for unit, indices in dropped.items():
            if indices:
                groups.get_pruning_group(layers[unit], torch_pruning.prune_conv_out_channels, indices).prune()
    _verify(smaller, {unit: len(indices) for unit, indices in kept.items()}, before, shape)
    return smaller


def compose(outer: Kept, inner: Kept, channels: Mapping[str, int]) -> dict[str, list[int]]:
    """The kept channels, in the numbering before both, of two removals one after the other.

    Args:
        outer: of the first removal. inner: of the second, in the numbering after the first.
        channels: unit -> channels before both.
    """
    result = {}
    for unit, full in channels.items():
        first = outer.get(unit, range(full))
        result[unit] = [int(first[index]) for index in inner[unit]] if unit in inner else [int(index) for index in first]
    return result


def _probe_shape(shape: Shape) -> Shape:
    return (1, shape[1], min(shape[2], PROBE), min(shape[3], PROBE))


def _dropped(unit: str, indices: Sequence[int], before: Layout) -> list[int]:
    """The complement of the kept channels of a unit."""
    if unit not in before.units:
        raise ConfigError(f"the network has no prunable unit '{unit}'; it has: {', '.join(before.units)}")
    full = before.units[unit].channels
    if not indices or not set(indices) <= set(range(full)):
        raise ConfigError(f"unit '{unit}' has channels 0 to {full - 1} and must keep at least one; asked to keep {list(indices)[:8]}")
    return sorted(set(range(full)) - set(indices))


@contextmanager
def _out_of_place(model: nn.Module) -> Iterator[None]:
    """Activations do not overwrite their operand inside."""
    writing = [layer for layer in model.modules() if getattr(layer, "inplace", False)]
    for layer in writing:
        layer.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in writing:
            layer.inplace = True  # type: ignore[assignment]


def _verify(smaller: nn.Module, widths: Mapping[str, int], before: Layout, shape: Shape) -> None:
    found = layout(trace(smaller, shape)).widths
    wanted = {unit: widths.get(unit, full) for unit, full in before.widths.items()}
    wrong = {unit: (wanted[unit], found.get(unit)) for unit in wanted if wanted[unit] != found.get(unit)}
    if wrong:
        raise PluginError(f"surgery went wrong: unit -> (channels wanted, found) {wrong}")

"""Removing channels for good. The only door to torch-pruning.

What goes is decided by our layout of units, not by DependencyGraph, the library's own analysis
(torch-pruning 1.6.1): it takes one of the r * r channels behind a channel of PixelShuffle, mixes up
the halves of a chunk, misreads activations that overwrite their operand, and raised errors on 17 of
43 random networks of the tests of which a channel can be removed. So the library takes the channels
out of each layer, and where its analysis is right, tests compare the two.

Every surgery is verified on a random input: the smaller network gives what the masked one gives. A
network that computes over all channels has no mask; for it, only that it runs is verified.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch_pruning.ops import OPTYPE
from torch_pruning.pruner.function import BasePruningFunc, PrunerBox

from bench.channels.units import Layout, layout
from bench.contract import Inputs, Kept, Shape
from bench.errors import PluginError
from bench.graph.lowering import trace
from bench.surgery.masks import masked
from bench.torch_state import evaluating
from bench.units import shapes_of

PROBE = 64  # pixels a side at which a surgery is verified, where the network accepts that
SAME = 1e-4  # of the largest value of the output: float32 sums in another order
KINDS = {
    nn.Conv2d: OPTYPE.CONV,
    nn.ConvTranspose2d: OPTYPE.CONV,
    nn.Linear: OPTYPE.LINEAR,
    nn.BatchNorm1d: OPTYPE.BN,
    nn.BatchNorm2d: OPTYPE.BN,
    nn.InstanceNorm1d: OPTYPE.IN,
    nn.InstanceNorm2d: OPTYPE.IN,
    nn.GroupNorm: OPTYPE.GN,
    nn.LayerNorm: OPTYPE.LN,
    nn.PReLU: OPTYPE.PRELU,
}


def remove_channels(
    model: nn.Module, kept: Kept, input_shape: Inputs, channels: Layout | None = None
) -> nn.Module:
    """A copy of the network with fewer channels; weights of the kept ones are unchanged.

    Args:
        model: left untouched.
        kept: unit -> sorted indices of the channels that stay; units that are not named keep all.
        input_shape: an (N, C, H, W) that the network accepts, or several.
        channels: the layout of `model`, if it is known already.

    Raises:
        ConfigError: a unit or a channel does not exist, or a unit would lose all channels.
        PluginError: the network that comes out is not the one that was asked for.
    """
    smaller, before = deepcopy(model), channels or layout(trace(model, input_shape))
    stays = before.stays(kept)
    if not stays.all():
        for layer, places in before.reads.items():
            _take(smaller.get_submodule(layer), ~stays[places], inputs=True)
        for layer, places in before.makes.items():
            _take(smaller.get_submodule(layer), ~stays[places])
        for name, (axis, places) in before.follows.items():
            _take_follower(smaller, name, axis, ~stays[places])
        _verify(model, smaller, before, kept, input_shape)
    return smaller


@contextmanager
def pretended(
    model: nn.Module, channels: Layout, kept: Kept, input_shape: Inputs
) -> Iterator[nn.Module]:
    """A network that computes what is left with the kept channels: masked where a mask is exact, else a smaller copy."""
    if channels.across:
        yield remove_channels(model, kept, input_shape, channels)
    else:
        with masked(model, channels, kept):
            yield model


def compose(outer: Kept, inner: Kept, channels: Mapping[str, int]) -> dict[str, list[int]]:
    """The kept channels, in the numbering before both, of two removals one after the other.

    Args:
        outer: of the first removal. inner: of the second, in the numbering after the first.
        channels: unit -> channels before both.
    """
    result = {}
    for unit, full in channels.items():
        first = outer.get(unit, range(full))
        result[unit] = (
            [int(first[index]) for index in inner[unit]]
            if unit in inner
            else [int(index) for index in first]
        )
    return result


def _take(
    layer: nn.Module, gone: np.ndarray, inputs: bool = False, depthwise: bool = False
) -> None:
    """Takes output or input channels out of a layer."""
    if not gone.any():
        return
    pruner: BasePruningFunc = PrunerBox[OPTYPE.DEPTHWISE_CONV if depthwise else kind_of(layer)]
    frozen = [
        name for name, weight in layer.named_parameters(recurse=False) if not weight.requires_grad
    ]
    (pruner.prune_in_channels if inputs else pruner.prune_out_channels)(
        layer, gone.nonzero()[0].tolist()
    )
    for name in frozen:  # the library makes new ones
        layer.get_parameter(name).requires_grad_(False)


def kind_of(layer: nn.Module) -> OPTYPE:
    """What a layer is to the library; one with running statistics is cut like a BatchNorm."""
    if getattr(layer, "running_mean", None) is not None:
        return OPTYPE.BN
    return next(kind for cls, kind in KINDS.items() if isinstance(layer, cls))


def _take_follower(model: nn.Module, name: str, axis: int, gone: np.ndarray) -> None:
    """The same for a layer or a weight that has an entry for each channel."""
    owner, _, last = name.rpartition(".")
    found = getattr(model.get_submodule(owner), last)
    if isinstance(found, nn.Module):
        _take(found, gone, depthwise=isinstance(found, nn.Conv2d | nn.ConvTranspose2d))
    elif gone.any():
        rest = found.detach().index_select(
            axis, torch.from_numpy((~gone).nonzero()[0]).to(found.device)
        )
        smaller: Tensor = (
            nn.Parameter(rest, found.requires_grad) if isinstance(found, nn.Parameter) else rest
        )
        setattr(model.get_submodule(owner), last, smaller)


def _verify(
    model: nn.Module, smaller: nn.Module, before: Layout, kept: Kept, input_shape: Inputs
) -> None:
    """Raises PluginError if the smaller network does not run, or computes something else than the masked one."""
    with nullcontext() if before.across else masked(model, before, kept):
        probes, expected = _accepted(model, shapes_of(input_shape))
    try:
        found = _outputs(smaller, probes)
    except RuntimeError as error:
        raise PluginError(
            f"surgery went wrong: the smaller network does not run: {error}"
        ) from error
    if before.across:
        return
    for one, other in zip(expected, found, strict=True):
        difference = float((one - other).abs().max())
        if not difference <= SAME * max(float(one.abs().max()), 1e-6):
            raise PluginError(f"surgery went wrong: the smaller network is off by {difference:.2g}")


def _accepted(
    model: nn.Module, shapes: tuple[Shape, ...]
) -> tuple[tuple[Shape, ...], list[Tensor]]:
    """Shapes of small inputs, or of whole ones where the network does not accept those, and what it makes of them."""
    small = tuple(
        (1, channels, min(height, PROBE), min(width, PROBE))
        for _, channels, height, width in shapes
    )
    try:
        return small, _outputs(model, small)
    except Exception:  # whatever a user's network raises: too small for it
        return shapes, _outputs(model, shapes)


def _outputs(model: nn.Module, shapes: tuple[Shape, ...]) -> list[Tensor]:
    """What a network makes of seeded random inputs, in eval mode; every tensor of it."""
    like, draws = next(model.parameters()), torch.Generator().manual_seed(0)
    with torch.no_grad(), evaluating(model):
        return tree_leaves(
            model(*[torch.rand(shape, generator=draws).to(like) for shape in shapes])
        )

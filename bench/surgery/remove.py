"""Surgery: remove channels for good, in a copy of the network. An adapter to torch-pruning.

Which weights belong to a channel is decided by our layout of units, not by DependencyGraph, the
library's own analysis (torch-pruning 1.6.1): it removes one of the r * r channels behind a channel
of PixelShuffle, mixes up the halves of a chunk, misreads activations that overwrite their operand,
and raised errors on 17 of the 43 random networks of the tests that have a removable channel. So the
library only removes the given channels from each layer. Where its analysis is right, tests compare
the two.

Every surgery is verified on a random input: the smaller network must give what the masked one
gives. For a network that computes over all channels there is no mask; it is only verified to run.
"""

from collections.abc import Mapping
from contextlib import nullcontext, redirect_stderr
from copy import deepcopy
from io import StringIO

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch_pruning.ops import OPTYPE
from torch_pruning.pruner.function import BasePruningFunc, PrunerBox

from bench.channels.units import Layout, channel_layout
from bench.contract import Inputs, Kept, Shape
from bench.errors import ConfigError, PluginError
from bench.graph.lowering import trace
from bench.graph.rewrite import rewrite_numbers
from bench.surgery.masks import mask_channels
from bench.torch_state import eval_mode, full_precision
from bench.units import as_shapes

PROBE_SIZE = 64  # height and width of the input that verifies a surgery, if the network accepts it
TOLERANCE = 1e-4  # relative to the largest output: float32 sums are taken in another order
LAYER_TYPES = {
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
    nn.Embedding: OPTYPE.EMBED,
}


def remove_channels(
    model: nn.Module, kept: Kept, input_shape: Inputs, layout: Layout | None = None
) -> nn.Module:
    """Return a copy of a network with fewer channels; the weights of the kept ones are unchanged.

    Args:
        model: left untouched.
        kept: unit -> sorted indices of the channels that stay; units that are not named keep all.
        input_shape: an (N, C, H, W) that the network accepts, or several.
        layout: of `model`, if it is known already.

    Raises:
        ConfigError: a unit or a channel does not exist, or a unit would lose all channels; or the
            network rebuilds its weights by itself.
        PluginError: the smaller network does not run, or differs from the masked one.
    """
    layout = layout or channel_layout(trace(model, input_shape))
    smaller, is_smaller = cut_copy(model, layout, kept)
    if is_smaller:
        _verify_surgery(model, smaller, layout, kept, input_shape)
    return smaller


def compose_removals(outer: Kept, inner: Kept, widths: Mapping[str, int]) -> dict[str, list[int]]:
    """Combine two successive removals into one, in the numbering before both.

    Args:
        outer: kept channels of the first removal.
        inner: kept channels of the second, in the numbering after the first.
        widths: unit -> channels before both.
    """
    composed = {}
    for unit, full in widths.items():
        first = outer.get(unit, range(full))
        second = inner.get(unit, range(len(first)))
        composed[unit] = [int(first[index]) for index in second]
    return composed


def cut_copy(
    model: nn.Module, layout: Layout, kept: Kept, *, shares_weights: bool = False
) -> tuple[nn.Module, bool]:
    """Return a copy with the kept channels only, not verified, and whether any is missing.

    Args:
        model: left untouched.
        layout: of the network.
        kept: unit -> channels that stay; units that are not named keep all.
        shares_weights: do not copy the weights and buffers that stay whole.
    """
    tensors = [*model.parameters(), *model.buffers()] if shares_weights else []
    smaller = deepcopy(model, {id(tensor): tensor for tensor in tensors})
    slot_mask = layout.slot_mask(kept)
    if slot_mask.all():
        return smaller, False
    for layer, slots in layout.reads.items():
        _remove_from_layer(smaller.get_submodule(layer), ~slot_mask[slots], inputs=True)
    for layer, slots in layout.makes.items():
        _remove_from_layer(smaller.get_submodule(layer), ~slot_mask[slots])
    for name, (axis, slots) in layout.followers.items():
        _remove_from_follower(smaller, name, axis, ~slot_mask[slots])
    if layout.rewrites:
        rewrite_numbers(smaller, layout.new_numbers(slot_mask))  # type: ignore[arg-type]
    return smaller, True


def _remove_from_layer(
    layer: nn.Module, removed: np.ndarray, inputs: bool = False, depthwise: bool = False
) -> None:
    """Remove output or input channels from a layer, in place."""
    if not removed.any():
        return
    if isinstance(layer, nn.RMSNorm):  # the library does not know it
        if layer.elementwise_affine:
            _remove_from_follower(layer, "weight", 0, removed)
        layer.normalized_shape = (int((~removed).sum()),)
        return
    layer_type = OPTYPE.DEPTHWISE_CONV if depthwise else library_layer_type(layer)
    pruner: BasePruningFunc = PrunerBox[layer_type]
    frozen = [
        name for name, weight in layer.named_parameters(recurse=False) if not weight.requires_grad
    ]
    remove = pruner.prune_in_channels if inputs else pruner.prune_out_channels
    remove(layer, removed.nonzero()[0].tolist())
    for name in frozen:  # the library creates new parameters, which are trainable
        layer.get_parameter(name).requires_grad_(False)


def library_layer_type(layer: nn.Module) -> OPTYPE:
    """Return the type by which the library handles a layer.

    A layer with running statistics is handled like a BatchNorm.
    """
    if getattr(layer, "running_mean", None) is not None:
        return OPTYPE.BN
    return next(kind for cls, kind in LAYER_TYPES.items() if isinstance(layer, cls))


def _remove_from_follower(model: nn.Module, name: str, axis: int, removed: np.ndarray) -> None:
    """Remove channels from a layer or a weight that has one entry for each channel."""
    owner, _, attribute = name.rpartition(".")
    follower = getattr(model.get_submodule(owner), attribute)
    if isinstance(follower, nn.Module):
        depthwise = isinstance(follower, nn.Conv2d | nn.ConvTranspose2d)
        _remove_from_layer(follower, removed, depthwise=depthwise)
    elif removed.any():
        kept = torch.from_numpy((~removed).nonzero()[0]).to(follower.device)
        smaller: Tensor = follower.detach().index_select(axis, kept)
        if isinstance(follower, nn.Parameter):
            smaller = nn.Parameter(smaller, follower.requires_grad)
        setattr(model.get_submodule(owner), attribute, smaller)


def _verify_surgery(
    model: nn.Module, smaller: nn.Module, layout: Layout, kept: Kept, input_shape: Inputs
) -> None:
    """Check that the smaller network computes the same as the masked one.

    Raises:
        ConfigError: the network rebuilds its weights by itself.
        PluginError: it does not run, or its output differs.
    """
    sizes = {name: weight.shape for name, weight in smaller.state_dict().items()}
    with nullcontext() if layout.cross_channel_ops else mask_channels(model, layout, kept):
        probes, expected = _run_smallest_inputs(model, as_shapes(input_shape))
    try:
        outputs = _run_random_inputs(smaller, probes)
    except RuntimeError as error:
        _refuse_rebuilt_weights(model, smaller, sizes)
        raise PluginError(
            f"surgery went wrong: the smaller network does not run: {error}"
        ) from error
    if layout.cross_channel_ops:
        return
    for masked, pruned in zip(expected, outputs, strict=True):
        difference = float((masked - pruned).abs().max())
        if not difference <= TOLERANCE * max(float(masked.abs().max()), 1e-6):
            _refuse_rebuilt_weights(model, smaller, sizes)
            raise PluginError(f"surgery went wrong: the smaller network is off by {difference:.2g}")


def _refuse_rebuilt_weights(
    model: nn.Module, smaller: nn.Module, sizes: Mapping[str, torch.Size]
) -> None:
    """Raise ConfigError if a network changes its weights by itself, which undoes a surgery.

    Args:
        model: before surgery.
        smaller: after it; it has been put into eval mode and run.
        sizes: name -> size of its weights and buffers before that.
    """
    twin = deepcopy(model)
    before = deepcopy(twin.state_dict())
    states = [deepcopy(twin.train(mode).state_dict()) for mode in (True, False)]
    changed = [
        name
        for state in states
        for name in before.keys() | state.keys()
        if name not in before or name not in state or not torch.equal(before[name], state[name])
    ]
    now = smaller.state_dict()
    changed += [name for name, size in sizes.items() if name not in now or now[name].shape != size]
    if changed:
        raise ConfigError(
            f"{type(model).__name__} rebuilds its weights when it is put into training or eval "
            f"mode, or runs ('{min(changed)}' changes), which undoes surgery; merge what it "
            "rebuilds into plain layers first"
        )


def _run_smallest_inputs(
    model: nn.Module, shapes: tuple[Shape, ...]
) -> tuple[tuple[Shape, ...], list[Tensor]]:
    """Run a network on small inputs, or on whole ones where it does not accept those.

    Returns:
        The shapes that it accepted, and its outputs.
    """
    small = tuple(
        (1, channels, min(height, PROBE_SIZE), min(width, PROBE_SIZE))
        for _, channels, height, width in shapes
    )
    try:
        with redirect_stderr(StringIO()):  # on which torch.fx prints where a traced network fails
            return small, _run_random_inputs(model, small)
    except Exception:  # a user's network may raise anything where an input is too small for it
        return shapes, _run_random_inputs(model, shapes)


def _run_random_inputs(model: nn.Module, shapes: tuple[Shape, ...]) -> list[Tensor]:
    """Run a network on seeded random inputs in eval mode; return every output tensor.

    What it draws itself is seeded too.
    """
    like = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(shape, generator=generator).to(like) for shape in shapes]
    with torch.no_grad(), eval_mode(model), full_precision(), torch.random.fork_rng():
        torch.manual_seed(0)
        return tree_leaves(model(*inputs))

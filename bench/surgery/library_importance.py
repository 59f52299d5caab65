"""Importance as Torch-Pruning computes it, on groups that our layout decides.

The library's scores take a Group: pairs of a layer's pruning function and the indices that go together. Its own DependencyGraph makes
wrong ones for some networks (channels.py says which), so they are made from the layout here: for every unit the output channels of the
layers that make it, the entries of the layers that follow, and the input channels of the layers that read it, a row of indices for each
place. What the library makes of a group (norms, LAMP, FPGM, Taylor, Hessian) is its own arithmetic.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch_pruning.dependency import Dependency, Group, Node
from torch_pruning.pruner import importance as library
from torch_pruning.pruner.function import PrunerBox

from bench.memory.layout import Layout
from bench.surgery.channels import kind_of
from bench.surgery.importance import Batches, Criterion, Scores

Kind = Literal["magnitude", "lamp", "fpgm", "taylor", "hessian", "random"]
SCORES = {
    "magnitude": library.GroupMagnitudeImportance,
    "lamp": library.LAMPImportance,
    "fpgm": library.FPGMImportance,
    "taylor": library.GroupTaylorImportance,
    "hessian": library.GroupHessianImportance,
    "random": library.RandomImportance,
}


def library_scores(model: nn.Module, channels: Layout, kind: Kind, batches: Batches, criterion: Criterion, seed: int) -> Scores:
    """Unit -> (C,): the library's importance of each channel.

    Args:
        model: its gradients are overwritten where the score needs some.
        channels: its layout.
        kind: "taylor" and "hessian" need gradients, the others look at weights alone.
        batches: of (degraded, clean), each (N, C, H, W), for the gradients.
        criterion: mean loss over a batch.
        seed: of "random".
    """
    if kind in ("taylor", "hessian"):
        _put_gradients(model.eval(), batches, criterion, squared=kind == "hessian")
    score: Any = SCORES[kind]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = {unit: score(group_of(model, channels, unit)).cpu() for unit in channels.units}
    found = {unit: values.nan_to_num() for unit, values in found.items()}  # FPGM has nothing to compare a single channel with
    model.zero_grad(set_to_none=True)
    return found


def group_of(model: nn.Module, channels: Layout, unit: str) -> Group:
    """The library's group of all channels of a unit: layers that make them first, in the order of execution."""
    group, own = Group(), channels.places(unit)
    for layer, places, outputs in _ends(model, channels):
        pruner, node = PrunerBox[kind_of(layer)], Node(layer, None)
        function = pruner.prune_out_channels if outputs else pruner.prune_in_channels
        for indices in _rows(places, own):
            group.add_dep(Dependency(function, function, node, node), indices)
            group[-1].root_idxs = list(range(own.stop - own.start))
    return group


def _ends(model: nn.Module, channels: Layout) -> Iterator[tuple[nn.Module, np.ndarray, bool]]:
    """(layer, places, whether of its outputs). Of groups alike one stands for all; the library cannot score what grouped layers read."""
    for name, places in channels.makes.items():
        layer = model.get_submodule(name)
        shared = getattr(layer, "groups", 1) if isinstance(layer, nn.ConvTranspose2d) else 1
        yield layer, places[: len(places) // shared], True
    for name, (_, places) in channels.follows.items():
        follower = dict(model.named_modules()).get(name)
        if isinstance(follower, nn.modules.batchnorm._BatchNorm | nn.LayerNorm):
            yield follower, places, True
    for name, places in channels.reads.items():
        layer = model.get_submodule(name)
        if getattr(layer, "groups", 1) == 1:
            yield layer, places, False


def _rows(places: np.ndarray, own: slice) -> Iterator[list[int]]:
    """Rows of indices in the order of the unit's places: the first channel of each place, the second, ..."""
    at = ((places >= own.start) & (places < own.stop)).nonzero()[0]
    if len(at):
        yield from at[places[at].argsort(kind="stable")].reshape(own.stop - own.start, -1).T.tolist()


def _put_gradients(model: nn.Module, batches: Batches, criterion: Criterion, squared: bool) -> None:
    """Leaves in each weight's gradient the mean over photographs of dL/dw, or of its square.

    The squares are summed here: the library's own sum (1.6.1) keeps only the last photograph.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    totals, count = [torch.zeros_like(weight) for weight in weights], 0
    for degraded, clean in batches:
        for one, truth in zip(degraded.split(1 if squared else len(degraded)), clean.split(1 if squared else len(clean)), strict=True):
            gradients = torch.autograd.grad(criterion(model(one), truth), weights, allow_unused=True)
            for total, gradient in zip(totals, gradients, strict=True):
                if gradient is not None:
                    total += gradient.square() if squared else gradient
            count += 1
    for weight, total in zip(weights, totals, strict=True):
        weight.grad = total / count

"""The importance classes of torch-pruning 1.6.1, on the units of our layout.

An adapter to torch-pruning.

    magnitude   squared norm of the weights that compute and that read a channel
                (Li et al. 2017, grouped as in DepGraph, CVPR 2023)
    lamp        the same, divided by what is left of the unit when all smaller ones are removed
                (Lee et al., ICLR 2021)
    fpgm        sum of the distances to the other channels of the unit     (He et al., CVPR 2019)
    taylor      sum of |w dL/dw|     (Molchanov et al., CVPR 2019)
    hessian     sum of w**2 times the mean over photographs of (dL/dw)**2     (LeCun et al. 1990)
    random      uniform numbers

The arithmetic is the library's own, with its defaults: each layer gives one number for each
channel, the mean over the layers of the group is taken, and a unit is divided by its own mean
(lamp: by its tail). Our layout decides which layers belong to a group, because the library's own
analysis is wrong on many restoration networks (bench.surgery.remove); where it is right, tests
compare the scores. Kept as in the library: magnitude and hessian also count the scales of a
BatchNorm, taylor does not; depthwise layers and bare weights never count.

Differences from the library, each because it would fail or mislead:

    - several channels of a layer in one slot (PixelShuffle, chunk, groups) are added up before the
      unit is normalised; the library normalises over channels, which for groups gives the same
      except with lamp
    - hessian: `accumulate_grad` of this version reads its sums under another key than it stores
      them, so that only the last photograph counts; instead, the mean of the squares is stored
      where the class reads it
    - fpgm raises an error where a grouped convolution reads a channel: that layer is left out
    - a unit in which no channel matters at all (0 / 0) gets zeros
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_pruning.dependency import Dependency, Group, Node
from torch_pruning.ops import OPTYPE
from torch_pruning.pruner import importance as library
from torch_pruning.pruner.function import PrunerBox

from bench.channels.units import Layout, Slots
from bench.surgery.importance import Batches, ChannelScores, Criterion
from bench.surgery.remove import library_layer_type
from bench.torch_state import scoring

LibraryCriterion = Literal["magnitude", "lamp", "fpgm", "taylor", "hessian", "random"]
IMPORTANCE_CLASSES = {
    "magnitude": library.GroupMagnitudeImportance,
    "lamp": library.LAMPImportance,
    "fpgm": library.FPGMImportance,
    "taylor": library.GroupTaylorImportance,
    "hessian": library.GroupHessianImportance,
    "random": library.RandomImportance,
}
Member = tuple[Node, Any, Slots]  # a layer, the library's function that prunes it, its slots
GRADIENT_CRITERIA = ("taylor", "hessian")


@scoring()
def library_scores(
    model: nn.Module,
    layout: Layout,
    importance: LibraryCriterion,
    seed: int = 0,
    batches: Batches = (),
    criterion: Criterion = nn.functional.l1_loss,
    normalised: bool = True,
) -> ChannelScores:
    """Return the score of each channel by one of the library's importance classes.

    Args:
        model: left untouched; a copy runs in eval mode.
        layout: of the network.
        importance: names the class.
        seed: of "random".
        batches: of (degraded, clean), each (N, C, H, W); for classes that need gradients.
        criterion: mean loss over a batch.
        normalised: as by the library's default; otherwise scores of different units can be
            compared as they are.

    Returns:
        Unit -> (C,).
    """
    copy = deepcopy(model).eval().requires_grad_()
    # A copied GraphModule has lost what counts its calls.
    copy._forward_hooks = model._forward_hooks.copy()
    scorer = IMPORTANCE_CLASSES[importance]()
    if importance in GRADIENT_CRITERIA:
        set_mean_gradients(copy, batches, criterion, squared=importance == "hessian")
    normaliser = getattr(scorer, "normalizer", None)
    scorer.normalizer = None
    members = list(_list_members(copy, layout, grouped=importance != "fpgm"))

    def scores(unit: str, width: int) -> Tensor:
        # The library's result is as long as the channels of the first layer; the rest is empty.
        raw = scorer(build_group(layout.slots(unit), members))[:width]
        if normalised and normaliser:
            raw = scorer._normalize(raw, normaliser)
        score: Tensor = raw.nan_to_num(0.0).cpu()
        return score

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {unit: scores(unit, width) for unit, width in layout.widths.items()}


def build_group(unit: slice, members: Iterable[Member]) -> Any:
    """Return the library's Group of a unit: its layers, their channels, and the slots of these.

    Args:
        unit: its slots.
        members: all layers; those that compute channels first.
    """
    group = Group()
    for node, prune, slots in members:
        indices = ((slots >= unit.start) & (slots < unit.stop)).nonzero()[0]
        if len(indices):
            group.add_dep(Dependency(prune, prune, node, node), indices.tolist())
            group[-1].root_idxs = (slots[indices] - unit.start).tolist()
    return group


def set_mean_gradients(
    model: nn.Module, batches: Batches, criterion: Criterion, squared: bool
) -> None:
    """Set `.grad` of each weight to the mean over photographs of its gradient.

    Args:
        model: whose weights get gradients.
        batches: of (degraded, clean), each (N, C, H, W).
        criterion: mean loss over a batch.
        squared: take the mean of the squared gradient instead.
    """
    weights = list(model.parameters())
    photographs = 0
    totals = [torch.zeros_like(weight) for weight in weights]
    for degraded, clean in batches:
        size = 1 if squared else len(degraded)
        for part, target in zip(degraded.split(size), clean.split(size), strict=True):
            loss = criterion(model(part), target) * len(part)
            gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
            for total, gradient in zip(totals, gradients, strict=True):
                total += gradient.square() if squared else gradient
            photographs += len(part)
    for weight, total in zip(weights, totals, strict=True):
        weight.grad = total / photographs


def _list_members(model: nn.Module, layout: Layout, grouped: bool) -> Iterator[Member]:
    """Yield the layers that the library's classes may score, those that compute channels first.

    Bare weights have no score.

    Args:
        model: owns the layers.
        layout: of the network.
        grouped: include grouped convolutions as readers of channels.
    """
    modules = dict(model.named_modules())
    for name, slots in layout.makes.items():
        pruner = PrunerBox[library_layer_type(modules[name])]
        yield Node(modules[name], None, name), pruner.prune_out_channels, slots
    for name, slots in layout.reads.items():
        if grouped or getattr(modules[name], "groups", 1) == 1:
            pruner = PrunerBox[library_layer_type(modules[name])]
            yield Node(modules[name], None, name), pruner.prune_in_channels, slots
    for name, (_, slots) in layout.followers.items():
        if name in modules:
            depthwise = isinstance(modules[name], nn.Conv2d | nn.ConvTranspose2d)
            kind = OPTYPE.DEPTHWISE_CONV if depthwise else library_layer_type(modules[name])
            yield Node(modules[name], None, name), PrunerBox[kind].prune_out_channels, slots

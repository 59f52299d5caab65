"""The importance classes of torch-pruning 1.6.1, on the units of our layout.

A door to torch-pruning.

    magnitude   squared norm of the weights that make and that read a channel     (Li et al. 2017, grouped as in DepGraph, CVPR 2023)
    lamp        the same, over what is left of the unit when all smaller ones are gone     (Lee et al., ICLR 2021)
    fpgm        sum of the distances to the other channels of the unit     (He et al., CVPR 2019)
    taylor      sum of |w dL/dw|     (Molchanov et al., CVPR 2019)
    hessian     sum of w**2 times the mean over photographs of (dL/dw)**2     (LeCun et al. 1990)
    random      uniform numbers

The arithmetic is the library's own, with its defaults: each layer gives a number a channel, the
mean over the layers of the group is taken, and a unit is divided by its own mean (lamp: by its
tail). What belongs to a group is told by our layout, because the library's own analysis is wrong on
many restoration networks (bench.surgery.remove); where it is right, tests compare the scores. Taken
as it is: magnitude and hessian also count the scales of a BatchNorm, taylor does not; depthwise
layers and bare weights never count.

Where we differ, each time because the library would fail or mislead:

    - several channels of a layer at one place (PixelShuffle, chunk, groups) are added up before the
      unit is normalised; the library normalises over channels, which for groups comes to the same
      except with lamp
    - hessian: `accumulate_grad` of this version looks its sums up under another key than it stores
      them, so that only the last photograph counts; the mean of the squares is handed over instead,
      where the class reads it
    - fpgm raises an error where a grouped convolution reads a channel: that item is left out
    - a unit of which no channel matters at all (0 / 0) gets zeros
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

from bench.channels.units import Layout, Places
from bench.surgery.importance import Batches, Criterion, Scores
from bench.surgery.remove import kind_of

Library = Literal["magnitude", "lamp", "fpgm", "taylor", "hessian", "random"]
CLASSES = {
    "magnitude": library.GroupMagnitudeImportance,
    "lamp": library.LAMPImportance,
    "fpgm": library.FPGMImportance,
    "taylor": library.GroupTaylorImportance,
    "hessian": library.GroupHessianImportance,
    "random": library.RandomImportance,
}
Member = tuple[
    Node, Any, Places
]  # a layer, what the library would do to it, the places of its channels
FROM_GRADIENTS = ("taylor", "hessian")


def library_scores(
    model: nn.Module,
    channels: Layout,
    importance: Library,
    seed: int = 0,
    batches: Batches = (),
    criterion: Criterion = nn.functional.l1_loss,
) -> Scores:
    """Unit -> (C,): what the library's class of that name makes of each channel.

    Args:
        model: left untouched; a copy runs in eval mode.
        channels: its layout.
        importance: names the class.
        seed: of "random".
        batches: of (degraded, clean), each (N, C, H, W); for those that need gradients.
        criterion: mean loss over a batch.
    """
    copy, scorer = deepcopy(model).eval().requires_grad_(), CLASSES[importance]()
    if importance in FROM_GRADIENTS:
        note_gradients(copy, batches, criterion, squared=importance == "hessian")
    normaliser, scorer.normalizer = getattr(scorer, "normalizer", None), None
    members = list(_members(copy, channels, grouped=importance != "fpgm"))

    def scores(unit: str, width: int) -> Tensor:
        raw = scorer(group(channels.places(unit), members))[
            :width
        ]  # as long as the channels of its first layer: the rest is empty
        normalised: Tensor = scorer._normalize(raw, normaliser) if normaliser else raw
        return normalised.nan_to_num(0.0).cpu()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {unit: scores(unit, width) for unit, width in channels.widths.items()}


def group(unit: slice, members: Iterable[Member]) -> Any:
    """The library's Group of a unit: each layer that has some of its channels, which these are, and their places in the unit.

    Args:
        unit: its places.
        members: all layers; those that make channels first.
    """
    found = Group()
    for node, act, places in members:
        at = ((places >= unit.start) & (places < unit.stop)).nonzero()[0]
        if len(at):
            found.add_dep(Dependency(act, act, node, node), at.tolist())
            found[-1].root_idxs = (places[at] - unit.start).tolist()
    return found


def note_gradients(model: nn.Module, batches: Batches, criterion: Criterion, squared: bool) -> None:
    """Sets `.grad` of each weight to the mean over photographs of its gradient, or of the square of it."""
    weights, photographs = list(model.parameters()), 0
    totals = [torch.zeros_like(weight) for weight in weights]
    for degraded, clean in batches:
        size = 1 if squared else len(degraded)
        for one, its in zip(degraded.split(size), clean.split(size), strict=True):
            loss = criterion(model(one), its) * len(one)
            for total, gradient in zip(
                totals, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True
            ):
                total += gradient.square() if squared else gradient
            photographs += len(one)
    for weight, total in zip(weights, totals, strict=True):
        weight.grad = total / photographs


def _members(model: nn.Module, channels: Layout, grouped: bool) -> Iterator[Member]:
    """What the library's classes may score; with or without grouped convolutions as readers.

    Bare weights have no score.
    """
    modules = dict(model.named_modules())
    for name, places in channels.makes.items():
        yield (
            Node(modules[name], None, name),
            PrunerBox[kind_of(modules[name])].prune_out_channels,
            places,
        )
    for name, places in channels.reads.items():
        if grouped or getattr(modules[name], "groups", 1) == 1:
            yield (
                Node(modules[name], None, name),
                PrunerBox[kind_of(modules[name])].prune_in_channels,
                places,
            )
    for name in [name for name in channels.follows if name in modules]:
        depthwise = isinstance(modules[name], nn.Conv2d | nn.ConvTranspose2d)
        kind = OPTYPE.DEPTHWISE_CONV if depthwise else kind_of(modules[name])
        yield (
            Node(modules[name], None, name),
            PrunerBox[kind].prune_out_channels,
            channels.follows[name][1],
        )

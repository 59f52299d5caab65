"""What a task promises, one check for each promise.

for finding in check_task(Mine, data="folder"):
    print(finding.status, finding.name, finding.reason)
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.contract import Budget, Crops, Pair, Task
from bench.errors import ConfigError
from bench.memory.profile import peak_memory
from bench.plugins.interface import faults_of_task
from bench.plugins.options import configured
from bench.surgery.analysis import analyze_network
from bench.surgery.importance import channel_norms
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import uniform_widths
from bench.testing.check_runner import Broken, Finding, needs
from bench.testing.method_runs import same_weights
from bench.testing.option_checks import faults_of_options

COUNT = 4  # crops that are drawn
NOWHERE = "no-such-backbone"
POINTS = 6


class TaskEvidence:
    """A task, its networks and its photographs.

    Args:
        cls: the task.
        options: of it, as a study has them.
        data: where its photographs are.
    """

    def __init__(self, cls: type[Task], options: Mapping[str, Any], data: str) -> None:
        self.cls, self.options, self.data = cls, dict(options), data
        self.findings: dict[str, Finding] = {}

    @cached_property
    def task(self) -> Task:
        """With the options. Raises ConfigError."""
        return configured(self.cls, self.options, f"task {self.cls.name}")

    @cached_property
    def networks(self) -> dict[str, nn.Module]:
        """Backbone -> a network with default options, in eval mode."""
        return {backbone: self.task.build(backbone).eval() for backbone in self.task.backbones}

    @cached_property
    def sources(self) -> dict[str, Crops]:
        """The sources of crops, by their names in the contract."""
        return {
            name: getattr(self.task, name)(self.data)
            for name in ("training_pairs", "calibration_pairs")
        }

    def crops(self, source: str, seed: int = 0) -> tuple[Tensor, Tensor]:
        """A few crops, degraded and clean, each (N, C, H, W)."""
        return self.sources[source].sample(
            COUNT, self.task.recipe.patch, Generator().manual_seed(seed)
        )

    @cached_property
    def test_sets(self) -> Mapping[str, Sequence[Pair]]:
        """Of the data."""
        return self.task.test_sets(self.data)


def is_a_task(evidence: TaskEvidence) -> None:
    """It is a frozen dataclass below Task with a name, a recipe and backbones; its options have types that a study file holds."""
    for faults in (faults_of_task, faults_of_options):
        for fault in faults(evidence.cls):
            raise Broken(fault)
    _ = evidence.task


def builds_every_backbone(evidence: TaskEvidence) -> None:
    """Every backbone is built with its default options, and one that is not known is refused with a ConfigError."""
    needs(is_a_task, evidence)
    for backbone, network in evidence.networks.items():
        if not isinstance(network, nn.Module):
            raise Broken(f"build('{backbone}') gave a {type(network).__name__}; give an nn.Module")
    try:
        evidence.task.build(NOWHERE)
    except ConfigError:
        return
    except Exception as error:
        raise Broken(
            f"build('{NOWHERE}') ended in a {type(error).__name__}; raise ConfigError and name the backbones that are known"
        ) from error
    raise Broken(
        f"build('{NOWHERE}') gave a network; raise ConfigError and name the backbones that are known"
    )


def its_networks_can_be_pruned(evidence: TaskEvidence) -> None:
    """The ruler knows every operator of every backbone at `measured_at`, and half of the peak is possible."""
    needs(builds_every_backbone, evidence)
    for backbone in evidence.networks:
        _halved(evidence, backbone)


def crops_have_the_right_shapes(evidence: TaskEvidence) -> None:
    """Crops are float32 in [0, 1], clean ones as large as the patch, and every backbone restores them to the size of the clean ones."""
    needs(builds_every_backbone, evidence)
    patch = evidence.task.recipe.patch
    for source in evidence.sources:
        degraded, clean = evidence.crops(source)
        if (len(degraded), len(clean), *clean.shape[-2:]) != (COUNT, COUNT, patch, patch):
            shapes = f"{tuple(degraded.shape)} and {tuple(clean.shape)}"
            raise Broken(
                f"{source} gave crops of shapes {shapes}, asked for {COUNT} with a patch of {patch}"
            )
        for kind, crops in (("degraded", degraded), ("clean", clean)):
            if crops.dtype != torch.float32 or float(crops.min()) < 0 or float(crops.max()) > 1:
                raise Broken(
                    f"{kind} crops of {source} are {crops.dtype} in {_range(crops)}; give float32 in [0, 1]"
                )
        for backbone, network in evidence.networks.items():
            with torch.inference_mode():
                found = tuple(network(degraded[:1]).shape)
            if found != (1, *clean.shape[1:]):
                raise Broken(
                    f"{backbone} makes {found} of a crop of {source}; the clean one is {(1, *clean.shape[1:])}"
                )


def crops_come_from_the_generator_alone(evidence: TaskEvidence) -> None:
    """The same generator gives the same crops, whatever else was drawn, and another one gives others."""
    needs(is_a_task, evidence)
    for source in evidence.sources:
        one, same, other = (evidence.crops(source, seed) for seed in (0, 0, 1))
        if not all(map(torch.equal, one, same)):
            raise Broken(
                f"{source} gave different crops for one seed; draw everything from the generator that is passed in"
            )
        if torch.equal(one[1], other[1]):
            raise Broken(
                f"{source} gave the same crops for two seeds; draw them from the generator that is passed in"
            )


def initialises_by_the_generator_alone(evidence: TaskEvidence) -> None:
    """The same generator gives the same weights, another one others; also to a network that was pruned."""
    needs(its_networks_can_be_pruned, evidence)
    for backbone in evidence.networks:
        one, same, other = (_halved(evidence, backbone) for _ in range(3))
        for model, seed in ((one, 0), (same, 0), (other, 1)):
            evidence.task.initialise(model, Generator().manual_seed(seed))
        if not same_weights(one, same):
            raise Broken(
                f"initialise gave {backbone} different weights for one seed; draw everything from the generator that is passed in"
            )
        if same_weights(one, other):
            raise Broken(
                f"initialise gave {backbone} the same weights for two seeds; draw them from the generator that is passed in"
            )


def loss_is_differentiable(evidence: TaskEvidence) -> None:
    """The loss is a scalar with a finite gradient."""
    needs(crops_have_the_right_shapes, evidence)
    _, clean = evidence.crops("training_pairs")
    restored = (0.9 * clean + 0.01).requires_grad_()
    loss = evidence.task.loss(restored, clean)
    if loss.ndim or not loss.requires_grad:
        raise Broken(
            f"the loss has shape {tuple(loss.shape)}, requires_grad {loss.requires_grad}; give a scalar that can be differentiated"
        )
    (gradient,) = torch.autograd.grad(loss, restored)
    if not (gradient.isfinite().all() and gradient.any()):
        raise Broken(
            "the gradient of the loss is zero or not finite; nothing can be trained with it"
        )


def scores_have_psnr_and_ssim(evidence: TaskEvidence) -> None:
    """A test photograph as it is gets at least psnr_db and ssim, finite numbers."""
    needs(is_a_task, evidence)
    for name, pairs in evidence.test_sets.items():
        scores = evidence.task.score(
            evidence.task.baseline_image(pairs[0].degraded), pairs[0].clean
        )
        for metric in ("psnr_db", "ssim"):
            if not math.isfinite(float(scores.get(metric, math.nan))):
                raise Broken(
                    f"{metric} of {pairs[0].name} in {name} is {scores.get(metric)}; score gave {dict(scores)}"
                )


def photographs_stay_the_same(evidence: TaskEvidence) -> None:
    """Every call gives the same test photographs and the same fingerprint."""
    needs(is_a_task, evidence)
    again = configured(evidence.cls, evidence.options, evidence.cls.name)
    for name, pairs in again.test_sets(evidence.data).items():
        for one, other in zip(evidence.test_sets.get(name, ()), pairs, strict=True):
            if (
                one.name != other.name
                or not torch.equal(one.degraded, other.degraded)
                or not torch.equal(one.clean, other.clean)
            ):
                raise Broken(
                    f"the test photograph {one.name} of {name} is another one at the second call; seed its degradation"
                )
    if evidence.task.fingerprint(evidence.data) != again.fingerprint(evidence.data):
        raise Broken(
            "the fingerprint of the same photographs changed between two calls; hash what is in them and nothing else"
        )


def calibration_is_no_test_photograph(evidence: TaskEvidence) -> None:
    """No crop for judging layers lies in a test photograph, turned or mirrored."""
    needs(crops_have_the_right_shapes, evidence)
    _, crops = evidence.crops("calibration_pairs")
    for name, pairs in evidence.test_sets.items():
        for pair in pairs:
            if any(_lies_in(crop, pair.clean) for crop in crops):
                raise Broken(
                    f"a crop of calibration_pairs is a part of {pair.name} in {name}; judge layers on training photographs"
                )


def _halved(evidence: TaskEvidence, backbone: str) -> nn.Module:
    """A backbone at half of its peak."""
    network, shape = evidence.networks[backbone], evidence.task.measured_at
    budget = Budget(peak_memory(network, shape) // 2, shape)
    body = analyze_network(network, budget)
    return remove_channels(
        network,
        body.keep(channel_norms(network, body.layout), uniform_widths(body, budget, 1)),
        shape,
        body.layout,
    )


def _lies_in(crop: Tensor, photograph: Tensor) -> bool:
    """Whether a crop (C, P, P) is a part of a photograph (C, H, W) in one of the eight positions of a square. A plain area is no sign."""
    if float(crop.amax((-2, -1)).sub(crop.amin((-2, -1))).max()) == 0:
        return False
    turned = [
        torch.rot90(image, turns, (-2, -1)) for image in (crop, crop.flip(-1)) for turns in range(4)
    ]
    return any(_found(each, photograph) for each in turned)


def _found(crop: Tensor, photograph: Tensor) -> bool:
    patch = crop.shape[-1]
    rows, columns = (size - patch + 1 for size in photograph.shape[-2:])
    if rows < 1 or columns < 1:
        return False
    same = torch.ones(rows, columns, dtype=torch.bool)
    for at in range(
        0, patch, max(1, patch // POINTS)
    ):  # a few pixels of its diagonal, then whole crops
        same &= (
            photograph[:, at : at + rows, at : at + columns] == crop[:, at, at, None, None]
        ).all(0)
    places = same.nonzero().tolist()
    return any(
        torch.equal(photograph[:, top : top + patch, left : left + patch], crop)
        for top, left in places
    )


def _range(crops: Tensor) -> str:
    return f"[{float(crops.min()):.3g}, {float(crops.max()):.3g}]"

"""The checks of a task, one for each promise.

`check_task` runs them:

    from prunebench import check_task

    for finding in check_task(Mine, data="folder"):
        print(finding.status, finding.name, finding.reason)
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.contract import Budget, Crops, Pair, Task
from bench.errors import ConfigError
from bench.memory.profile import peak_memory
from bench.plugins.interface import find_task_faults
from bench.plugins.options import configure
from bench.surgery.analysis import analyse_network
from bench.surgery.importance import channel_norms
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import uniform_widths
from bench.testing.check_runner import CheckFailed, Finding, raise_first_fault, require
from bench.testing.method_runs import have_same_weights
from bench.testing.option_checks import find_option_faults

CROPS = 4  # drawn for each check
WITH_NOISE = (-1, 2)  # degraded crops, in [0, 1] but for noise that is not clipped
UNKNOWN_BACKBONE = "no-such-backbone"
PROBED_PIXELS = 6  # of a crop, before the whole crop is compared


class TaskEvidence:
    """A task with its networks and photographs, each made once.

    Args:
        cls: the class of the task.
        options: options of the task, as in a study.
        data: "embedded", or the folder of photographs.
    """

    def __init__(self, cls: type[Task], options: Mapping[str, Any], data: str) -> None:
        self.cls = cls
        self.options = dict(options)
        self.data = data
        self.findings: dict[str, Finding] = {}

    @cached_property
    def task(self) -> Task:
        """The task with these options. Raises ConfigError."""
        return configure(self.cls, self.options, f"task {self.cls.name}")

    @cached_property
    def networks(self) -> dict[str, nn.Module]:
        """Backbone -> network with default options, in eval mode."""
        return {backbone: self.task.build(backbone).eval() for backbone in self.task.backbones}

    @cached_property
    def sources(self) -> dict[str, Crops]:
        """Method of the contract -> source of crops that it returns."""
        return {
            name: getattr(self.task, name)(self.data)
            for name in ("training_pairs", "calibration_pairs")
        }

    def crops(self, source: str, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw a few degraded and clean crops, each (N, C, H, W)."""
        generator = Generator().manual_seed(seed)
        return self.sources[source].sample(CROPS, self.task.recipe.patch, generator)

    @cached_property
    def pruned(self) -> dict[str, nn.Module]:
        """Backbone -> network of half of its peak memory."""
        return {name: self._prune_to_half(network) for name, network in self.networks.items()}

    def _prune_to_half(self, network: nn.Module) -> nn.Module:
        shape = self.task.measured_at
        budget = Budget(peak_memory(network, shape) // 2, shape)
        analysis = analyse_network(network, budget)
        widths = uniform_widths(analysis, budget, 1)
        kept = analysis.select_kept(channel_norms(network, analysis.layout), widths)
        return remove_channels(network, kept, shape, analysis.layout)

    @cached_property
    def test_sets(self) -> Mapping[str, Sequence[Pair]]:
        """The test sets of the data."""
        return self.task.test_sets(self.data)


def is_a_task(evidence: TaskEvidence) -> None:
    """It is a frozen dataclass derived from Task, with name, recipe, backbones, typed options."""
    for find_faults in (find_task_faults, find_option_faults):
        raise_first_fault(find_faults(evidence.cls))
    _ = evidence.task  # fails for options that the task does not accept


def builds_every_backbone(evidence: TaskEvidence) -> None:
    """Every backbone is built with its default options; a ConfigError refuses an unknown one."""
    require(is_a_task, evidence)
    for backbone, network in evidence.networks.items():
        if not isinstance(network, nn.Module):
            raise CheckFailed(
                f"build('{backbone}') returned a {type(network).__name__}; return an nn.Module"
            )
    remedy = "raise ConfigError and name the known backbones"
    try:
        evidence.task.build(UNKNOWN_BACKBONE)
    except ConfigError:
        return
    except Exception as error:
        raise CheckFailed(
            f"build('{UNKNOWN_BACKBONE}') ended in a {type(error).__name__}; {remedy}"
        ) from error
    raise CheckFailed(f"build('{UNKNOWN_BACKBONE}') returned a network; {remedy}")


def its_networks_can_be_pruned(evidence: TaskEvidence) -> None:
    """Every backbone can be measured at `measured_at` and pruned to half of its peak memory."""
    require(builds_every_backbone, evidence)
    _ = evidence.pruned  # fails for a backbone that cannot


def crops_have_the_right_shapes(evidence: TaskEvidence) -> None:
    """Crops are float32 in [0, 1], but for noise; backbones restore them to the clean size."""
    require(builds_every_backbone, evidence)
    patch = evidence.task.recipe.patch
    for source in evidence.sources:
        degraded, clean = evidence.crops(source)
        if (len(degraded), len(clean), *clean.shape[-2:]) != (CROPS, CROPS, patch, patch):
            shapes = f"{tuple(degraded.shape)} and {tuple(clean.shape)}"
            raise CheckFailed(
                f"{source} gave crops of shapes {shapes}; "
                f"it was asked for {CROPS} with a patch of {patch}"
            )
        for kind, crops, (least, most) in (
            ("degraded", degraded, WITH_NOISE),
            ("clean", clean, (0, 1)),
        ):
            in_range = least <= float(crops.min()) and float(crops.max()) <= most
            if crops.dtype != torch.float32 or not in_range:
                raise CheckFailed(
                    f"{kind} crops of {source} are {crops.dtype} in {_format_range(crops)}; "
                    "give float32 in [0, 1]"
                )
        expected = (1, *clean.shape[1:])
        for backbone, network in evidence.networks.items():
            with torch.inference_mode():
                shape = tuple(network(degraded[:1]).shape)
            if shape != expected:
                raise CheckFailed(
                    f"{backbone} returns {shape} for a crop of {source}; "
                    f"the clean crop is {expected}"
                )


def crops_come_from_the_generator_alone(evidence: TaskEvidence) -> None:
    """Generators with the same seed give the same crops, those with other seeds give others."""
    require(is_a_task, evidence)
    for source in evidence.sources:
        one, same, other = (evidence.crops(source, seed) for seed in (0, 0, 1))
        if not all(map(torch.equal, one, same)):
            raise CheckFailed(
                f"{source} gave different crops for one seed; "
                "draw everything from the generator that is passed in"
            )
        if torch.equal(one[1], other[1]):
            raise CheckFailed(
                f"{source} gave the same crops for two seeds; "
                "draw them from the generator that is passed in"
            )


def initialises_by_the_generator_alone(evidence: TaskEvidence) -> None:
    """The weights of a pruned network depend on the seed of the generator and on nothing else."""
    require(its_networks_can_be_pruned, evidence)
    for backbone, pruned in evidence.pruned.items():
        one, same, other = (deepcopy(pruned) for _ in range(3))
        for model, seed in ((one, 0), (same, 0), (other, 1)):
            evidence.task.initialise(model, Generator().manual_seed(seed))
        if not have_same_weights(one, same):
            raise CheckFailed(
                f"initialise gave {backbone} different weights for one seed; "
                "draw everything from the generator that is passed in"
            )
        if have_same_weights(one, other):
            raise CheckFailed(
                f"initialise gave {backbone} the same weights for two seeds; "
                "draw them from the generator that is passed in"
            )


def loss_is_differentiable(evidence: TaskEvidence) -> None:
    """The loss is a scalar with a finite gradient."""
    require(crops_have_the_right_shapes, evidence)
    _, clean = evidence.crops("training_pairs")
    restored = (0.9 * clean + 0.01).requires_grad_()
    loss = evidence.task.loss(restored, clean)
    if loss.ndim or not loss.requires_grad:
        raise CheckFailed(
            f"the loss has shape {tuple(loss.shape)}, requires_grad {loss.requires_grad}; "
            "give a scalar that can be differentiated"
        )
    (gradient,) = torch.autograd.grad(loss, restored)
    if not (gradient.isfinite().all() and gradient.any()):
        raise CheckFailed(
            "the gradient of the loss is zero or not finite; nothing can be trained with it"
        )


def scores_have_psnr_and_ssim(evidence: TaskEvidence) -> None:
    """The scores of an unrestored test photograph include psnr_db and ssim, both finite."""
    require(is_a_task, evidence)
    for name, pairs in evidence.test_sets.items():
        pair = pairs[0]
        scores = evidence.task.score(evidence.task.baseline_image(pair.degraded), pair.clean)
        for metric in ("psnr_db", "ssim"):
            if not math.isfinite(float(scores.get(metric, math.nan))):
                raise CheckFailed(
                    f"{metric} of {pair.name} in {name} is {scores.get(metric)}; "
                    f"score gave {dict(scores)}"
                )


def photographs_stay_the_same(evidence: TaskEvidence) -> None:
    """Every call gives the same test photographs and the same fingerprint."""
    require(is_a_task, evidence)
    second_task = configure(evidence.cls, evidence.options, evidence.cls.name)
    for name, pairs in second_task.test_sets(evidence.data).items():
        for first, second in zip(evidence.test_sets.get(name, ()), pairs, strict=True):
            if (
                first.name != second.name
                or not torch.equal(first.degraded, second.degraded)
                or not torch.equal(first.clean, second.clean)
            ):
                raise CheckFailed(
                    f"the test photograph {first.name} of {name} differs at the second call; "
                    "seed its degradation"
                )
    if evidence.task.fingerprint(evidence.data) != second_task.fingerprint(evidence.data):
        raise CheckFailed(
            "the fingerprint of the same photographs changed between two calls; "
            "hash their content and nothing else"
        )


def calibration_is_no_test_photograph(evidence: TaskEvidence) -> None:
    """No calibration crop is a part of a test photograph, not even rotated or mirrored."""
    require(crops_have_the_right_shapes, evidence)
    _, crops = evidence.crops("calibration_pairs")
    for name, pairs in evidence.test_sets.items():
        for pair in pairs:
            if any(_is_part_of(crop, pair.clean) for crop in crops):
                raise CheckFailed(
                    f"a crop of calibration_pairs is a part of {pair.name} in {name}; "
                    "take calibration crops from training photographs"
                )


def _is_part_of(crop: Tensor, photograph: Tensor) -> bool:
    """Return whether a photograph (C, H, W) contains a crop (C, P, P), rotated or mirrored or not.

    A crop of one colour proves nothing, so that the answer is False.
    """
    if float(crop.amax((-2, -1)).sub(crop.amin((-2, -1))).max()) == 0:
        return False
    orientations = (
        torch.rot90(image, turns, (-2, -1)) for image in (crop, crop.flip(-1)) for turns in range(4)
    )
    return any(_contains(photograph, oriented) for oriented in orientations)


def _contains(photograph: Tensor, crop: Tensor) -> bool:
    """Return whether a photograph (C, H, W) contains a crop (C, P, P) as it is."""
    patch = crop.shape[-1]
    rows, columns = (size - patch + 1 for size in photograph.shape[-2:])
    if rows < 1 or columns < 1:
        return False
    # Compare a few pixels on the diagonal at all positions, then the whole crop where they match.
    matches = torch.ones(rows, columns, dtype=torch.bool)
    for offset in range(0, patch, max(1, patch // PROBED_PIXELS)):
        window = photograph[:, offset : offset + rows, offset : offset + columns]
        matches &= (window == crop[:, offset, offset, None, None]).all(0)
    return any(
        torch.equal(photograph[:, top : top + patch, left : left + patch], crop)
        for top, left in matches.nonzero().tolist()
    )


def _format_range(crops: Tensor) -> str:
    return f"[{float(crops.min()):.3g}, {float(crops.max()):.3g}]"

"""Tasks that are broken on purpose: each fault fails its own check and no other.

Our own tasks pass all checks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor, nn

from bench.contract import Crops, Pair
from bench.plugins.registry import TASKS
from bench.testing.check_runner import check_name
from bench.testing.checks import TASK_CHECKS, check_task
from bench.testing.fixtures import SmallCrops, SmallTask
from bench.testing.pytest_suite import TaskContract

CALLS = count()


class OneLayer(nn.Module):
    """A network without removable channels: it has those of the output only."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.only(x)


class Undecorated(SmallTask):
    sigma: float = 0.1


@dataclass(frozen=True)
class OptionOfAnyType(SmallTask):
    sigmas: Mapping[str, float] = None  # type: ignore[assignment]


@dataclass(frozen=True)
class WithoutBackbones(SmallTask):
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {}


@dataclass(frozen=True)
class BuildsAnything(SmallTask):
    def build(self, backbone: str, **options: Any) -> nn.Module:
        return super().build("small")


@dataclass(frozen=True)
class NothingToPrune(SmallTask):
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"small": OneLayer}


@dataclass(frozen=True)
class InitialisesFromOutside(SmallTask):
    def initialise(self, model: nn.Module, generator: Generator) -> None:
        for weight in model.parameters():
            nn.init.normal_(weight)


@dataclass(frozen=True)
class InitialisesOnce(SmallTask):
    def initialise(self, model: nn.Module, generator: Generator) -> None:
        super().initialise(model, Generator().manual_seed(5))


class SlicedCrops(SmallCrops):
    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        degraded, clean = super().sample(count, patch, generator)
        return degraded, clean[..., 1:]


class LoudCrops(SmallCrops):
    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        degraded, clean = super().sample(count, patch, generator)
        return degraded, 255 * clean


class FreeCrops(SmallCrops):
    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        return super().sample(count, patch, Generator().manual_seed(next(CALLS)))


class SameCrops(SmallCrops):
    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        return super().sample(count, patch, Generator().manual_seed(5))


def with_training_crops(crops: Crops) -> type[SmallTask]:
    """Return the small task with other training crops."""

    @dataclass(frozen=True)
    class OtherCrops(SmallTask):
        def training_pairs(self, data: str) -> Crops:
            return crops

    return OtherCrops


@dataclass(frozen=True)
class LossWithoutGradient(SmallTask):
    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return super().loss(restored.detach(), clean)


@dataclass(frozen=True)
class LossOfEachPhotograph(SmallTask):
    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return (restored - clean).abs().mean((1, 2, 3))


@dataclass(frozen=True)
class ScoresPsnrAlone(SmallTask):
    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        return {"psnr_db": 20.0}


@dataclass(frozen=True)
class NewNoiseEachTime(SmallTask):
    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        noise = Generator().manual_seed(next(CALLS))
        pairs = super().test_sets(data)["photographs"]
        return {
            "photographs": [
                Pair(pair.name, torch.rand(pair.clean.shape, generator=noise), pair.clean)
                for pair in pairs
            ]
        }


@dataclass(frozen=True)
class NewFingerprintEachTime(SmallTask):
    def fingerprint(self, data: str) -> str:
        return str(next(CALLS))


class TestCrops(SmallCrops):
    __test__ = False

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        (pair,) = SmallTask().test_sets("")["photographs"]
        crop = (
            pair.clean[:, 1 : 1 + patch, 3 : 3 + patch].flip(-1).expand(count, -1, -1, -1).clone()
        )
        crop[int(torch.randint(count, (1,), generator=generator)) - 1] = torch.rand(
            3, patch, patch, generator=generator
        )
        return crop, crop


@dataclass(frozen=True)
class CalibratesOnTheTest(SmallTask):
    def calibration_pairs(self, data: str) -> Crops:
        return TestCrops()


BROKEN = [
    (
        int,
        "is a task",
        "is not a subclass of Task; import Task from prunebench and write class Mine(Task)",
    ),
    (Undecorated, "is a task", "Undecorated is not a dataclass"),
    (OptionOfAnyType, "is a task", "which a study file does not hold"),
    (WithoutBackbones, "is a task", "WithoutBackbones has no backbones"),
    (
        BuildsAnything,
        "builds every backbone",
        "build('no-such-backbone') returned a network; raise ConfigError",
    ),
    (NothingToPrune, "its networks can be pruned", "ConfigError"),
    (
        InitialisesFromOutside,
        "initialises by the generator alone",
        "gave small different weights for one seed",
    ),
    (
        InitialisesOnce,
        "initialises by the generator alone",
        "gave small the same weights for two seeds",
    ),
    (
        with_training_crops(SlicedCrops()),
        "crops have the right shapes",
        "asked for 4 with a patch of 16",
    ),
    (with_training_crops(LoudCrops()), "crops have the right shapes", "give float32 in [0, 1]"),
    (
        with_training_crops(FreeCrops()),
        "crops come from the generator alone",
        "training_pairs gave different crops for one seed",
    ),
    (
        with_training_crops(SameCrops()),
        "crops come from the generator alone",
        "training_pairs gave the same crops for two seeds",
    ),
    (LossWithoutGradient, "loss is differentiable", "requires_grad False; give a scalar"),
    (LossOfEachPhotograph, "loss is differentiable", "the loss has shape (4,)"),
    (ScoresPsnrAlone, "scores have psnr and ssim", "ssim of one in photographs is None"),
    (
        NewNoiseEachTime,
        "photographs stay the same",
        "differs at the second call; seed its degradation",
    ),
    (
        NewFingerprintEachTime,
        "photographs stay the same",
        "the fingerprint of the same photographs changed",
    ),
    (
        CalibratesOnTheTest,
        "calibration is no test photograph",
        "a crop of calibration_pairs is a part of one in photographs",
    ),
]
OURS = [name for name in TASKS.names() if TASKS.get(name).__module__.startswith("tasks.")]


@pytest.mark.parametrize(
    ("cls", "check", "words"),
    BROKEN,
    ids=[f"{number}-{check}" for number, (_, check, _) in enumerate(BROKEN)],
)
def test_a_broken_promise_is_found_by_its_own_check_and_by_no_other(
    cls: Any, check: str, words: str
) -> None:
    failed = {
        finding.name: finding.reason for finding in check_task(cls) if finding.status == "failed"
    }
    assert list(failed) == [check], failed
    assert words in failed[check]


def test_every_check_has_a_task_that_fails_it() -> None:
    assert {check for _, check, _ in BROKEN} == {check_name(check) for check in TASK_CHECKS}


@pytest.mark.parametrize("name", OURS)
def test_our_tasks_keep_every_promise(name: str) -> None:
    assert [
        (finding.name, finding.reason)
        for finding in check_task(TASKS.get(name))
        if finding.status != "passed"
    ] == []


class TestSmallTask(TaskContract):
    """The pytest class, used as in the repository of a task."""

    task = SmallTask

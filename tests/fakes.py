"""A task and a method small enough to train in milliseconds, for tests of the harness.

`Tiny` is two convolutions; its peak at (1, 3, H, W) is 4 H W (3 + width) bytes in both conventions.
`narrow` keeps its first channels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from bench.contract import (
    NO_TRAINER,
    Budget,
    Crops,
    Finish,
    Method,
    Pair,
    Pruned,
    Recipe,
    Shape,
    Task,
    TraceStep,
    Trainer,
)
from bench.errors import Infeasible
from bench.plugins.registry import method, task
from tasks.models.edsr import EDSR
from tasks.models.res_unet import ResUNet
from tasks.models.unet import UNet
from tests.networks.small import Residual

RECIPE = Recipe(
    patch=16,
    batch=2,
    pretrain_steps=6,
    adapt_steps=2,
    finetune_steps=4,
    steps_per_epoch=2,
    calibration_crops=4,
    threads=1,
)


class Tiny(nn.Module):
    """(N, 3, H, W) -> (N, 3, H, W) through `width` channels named "first"."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.first(x)))


class FakeCrops:
    """Random crops whose degradation is noise."""

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        clean = torch.rand(count, 3, patch, patch, generator=generator)
        return clean + 0.1 * torch.randn(clean.shape, generator=generator), clean


@task("fake")
@dataclass(frozen=True)
class FakeTask(Task):
    """Denoising of random crops, with two test photographs, one of which is no multiple of 16."""

    noise: float = 0.1
    measured_at: ClassVar[Shape] = (1, 3, 32, 32)
    size_multiple: ClassVar[int] = 16
    recipe: ClassVar[Recipe] = RECIPE
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {
        "tiny": Tiny,
        "small_unet": UNet,
        "small_res_unet": ResUNet,
        "small_edsr": EDSR,
        "residual": Residual,
    }

    def build(self, backbone: str, **options: Any) -> nn.Module:
        return self.backbones[backbone](**options)

    def initialise(self, model: nn.Module, generator: Generator) -> None:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1, generator=generator)

    def training_pairs(self, data: str) -> Crops:
        return FakeCrops()

    def calibration_pairs(self, data: str) -> Crops:
        return FakeCrops()

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        generator = Generator().manual_seed(1)
        sizes = {"even": (32, 32), "odd": (20, 27)}
        photos = {name: torch.rand(3, *size, generator=generator) for name, size in sizes.items()}
        pairs = []
        for name, photo in photos.items():
            noise = self.noise * torch.randn(photo.shape, generator=generator)
            pairs.append(Pair(name, photo + noise, photo))
        return {"photos": pairs}

    def fingerprint(self, data: str) -> str:
        return f"fake {data}"

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return (restored - clean).abs().mean()

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        error = float(((restored.clamp(0, 1) - clean) ** 2).mean())
        return {"psnr_db": -10 * torch.log10(torch.tensor(error)).item(), "ssim": 1 / (1 + error)}


@dataclass(frozen=True)
class AnyScale(FakeTask):
    """A task for networks that enlarge by any factor: the loss first resizes to the clean crop."""

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        return (functional.adaptive_avg_pool2d(restored, clean.shape[-2:]) - clean).abs().mean()


def tiny_peak_bytes(width: int, shape: Shape) -> int:
    """Return the peak of Tiny in bytes: its hidden channels and its input or output."""
    return 4 * shape[0] * shape[2] * shape[3] * (width + 3)


@method("narrow")
@dataclass(frozen=True)
class Narrow(Method):
    """Keeps as many of the first channels as fit.

    Args:
        train_steps: steps of phase "adapt" that it spends on each budget.
        finishing: `finish` of its results.
        fault: how it breaks the contract: "" (not at all), "raises" (an exception), "over" (the
            budget), "hook" (leaves one), "shape" (wrong output), "kept" (reports wrong channels).
        fault_below: the ratio of the unpruned peak below which it has the fault.
    """

    paper: ClassVar[str] = "none"
    train_steps: int = 0
    finishing: Finish = "finetune"
    fault: str = ""
    fault_below: float = 1.0

    def expected_steps(self, recipe: Recipe) -> int:
        return {
            "none": 0,
            "finetune": recipe.tuning_steps,
            "scratch": recipe.pretrain_steps + recipe.tuning_steps,
        }[self.finishing]

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        old = model.first.weight.shape[0]
        limit_bytes = self.fault_below * tiny_peak_bytes(old, budget.input_shape)
        fault = self.fault if budget.peak_bytes < limit_bytes else ""
        if fault == "raises":
            raise ValueError("a bug\nin the method")
        width = budget.peak_bytes // tiny_peak_bytes(-2, budget.input_shape) - 3
        if width < 1:
            raise Infeasible(f"{budget.peak_bytes} bytes", tiny_peak_bytes(1, budget.input_shape))
        width = min(width, old) if fault != "over" else old
        smaller = narrow_network(model, width)
        if self.train_steps:
            trainer.fit(smaller, self.train_steps, phase="adapt")
        if fault == "hook":
            smaller.first.register_forward_hook(lambda *_: None)
        if fault == "shape":
            smaller.out = nn.Conv2d(width, 4, 3, padding=1)
        kept = {"first": list(range(width if fault != "kept" else old))}
        step = TraceStep(budget.peak_bytes, {"first": width}, "cut")
        return Pruned(smaller, self.finishing, kept, trace=(step,))


def narrow_network(model: nn.Module, width: int) -> nn.Module:
    """Return a Tiny with the first `width` channels of another."""
    smaller = Tiny(width)
    with torch.no_grad():
        smaller.first.weight.copy_(model.first.weight[:width])
        smaller.first.bias.copy_(model.first.bias[:width])
        smaller.out.weight.copy_(model.out.weight[:, :width])
        smaller.out.bias.copy_(model.out.bias)
    return smaller

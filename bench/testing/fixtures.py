"""A tiny network and task for the checks, with the structures of large ones.

The network has a long skip into a concatenation (where a compactor can be inserted), an addition
(layers with one common width), a strided and a transposed convolution, and in-place activations.
The task is not in the registry, so that users do not see it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from bench.contract import Budget, Crops, Pair, Recipe, Shape, Task
from bench.errors import ConfigError, describe_unknown
from bench.memory.profile import peak_memory

SHAPE: Shape = (1, 3, 32, 32)
RECIPE = Recipe(
    patch=16,
    batch=2,
    pretrain_steps=6,
    adapt_steps=2,
    finetune_steps=6,
    matched_steps=48,
    steps_per_epoch=1,
    calibration_crops=4,
)


class SmallNetwork(nn.Module):
    """A small U-Net, (N, 3, H, W) -> (N, 3, H, W) with even H and W.

    Args:
        width: channels of the first level; the second one has twice as many.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.first = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.second = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.merge = nn.Conv2d(2 * width, width, 3, padding=1)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)
        self.act = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Restore images (N, 3, H, W)."""
        skip = self.act(self.head(x))
        y = self.act(self.down(skip))
        y = y + self.second(self.act(self.first(y)))
        return self.tail(self.act(self.merge(torch.cat([self.up(y), skip], 1))))


class SmallCrops:
    """Crops of random pixels, degraded by Gaussian noise."""

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw `count` degraded and clean crops, each (count, 3, patch, patch)."""
        clean = torch.rand(count, 3, patch, patch, generator=generator)
        return (clean + 0.1 * torch.randn(clean.shape, generator=generator)).clamp(0, 1), clean


@dataclass(frozen=True)
class SmallTask(Task):
    """Denoising of random crops."""

    name: ClassVar[str] = "small"
    measured_at: ClassVar[Shape] = SHAPE
    size_multiple: ClassVar[int] = 2
    recipe: ClassVar[Recipe] = RECIPE
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"small": SmallNetwork}

    def build(self, backbone: str, **options: int) -> nn.Module:
        """Build a new network. Raises ConfigError for an unknown backbone."""
        if backbone not in self.backbones:
            raise ConfigError(describe_unknown("backbone of task small", backbone, self.backbones))
        return self.backbones[backbone](**options)

    def initialise(self, model: nn.Module, generator: Generator) -> None:
        """Draw new weights by He's initialisation, and set the biases to zero."""
        for weight in model.parameters():
            if weight.ndim > 1:
                nn.init.kaiming_normal_(weight, a=0.2, generator=generator)
            else:
                nn.init.zeros_(weight)

    def training_pairs(self, data: str) -> Crops:
        """Return the source of crops for gradient steps."""
        return SmallCrops()

    def calibration_pairs(self, data: str) -> Crops:
        """Return the source of crops for scoring layers."""
        return SmallCrops()

    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return one test set with one photograph, which is not square."""
        ((degraded,), (clean,)) = SmallCrops().sample(1, 24, Generator().manual_seed(1))
        return {"photographs": [Pair("one", degraded[:, :18], clean[:, :18])]}

    def fingerprint(self, data: str) -> str:
        """Return a constant, because the photographs never change."""
        return f"small {data}"

    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Return the mean absolute error."""
        return (restored - clean).abs().mean()

    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Return PSNR in dB, and a function of the mean square error in place of SSIM."""
        error = float((restored - clean).square().mean())
        return {
            "psnr_db": -10 * torch.log10(torch.tensor(max(error, 1e-10))).item(),
            "ssim": 1 / (1 + error),
        }


def small_network() -> nn.Module:
    """Return the small network with fixed weights, in eval mode."""
    model = SmallNetwork()
    SmallTask().initialise(model, Generator().manual_seed(1))
    return model.eval()


def small_budgets(model: nn.Module, *ratios: float) -> list[Budget]:
    """Return budgets at these ratios of the network's peak memory."""
    peak_bytes = peak_memory(model, SHAPE)
    return [Budget(int(ratio * peak_bytes), SHAPE) for ratio in ratios]

"""Small networks for tests, and random cuts of them."""

import random

import torch
from torch import Tensor, nn

from bench.channels.units import Layout, layout
from bench.contract import Inputs, Shape
from bench.graph.lowering import trace
from bench.surgery.compactors import insert, long_skips
from tasks.models.initialisation import initialise
from tasks.models.unet import UNet

SHAPE: Shape = (1, 3, 32, 32)


def unet(
    width: int = 4,
    compactors: bool = False,
    dtype: torch.dtype = torch.float32,
    residual: bool = False,
) -> nn.Module:
    """A U-Net with random weights, in eval mode."""
    network: nn.Module = UNet(width, global_residual=residual)
    initialise(network, torch.Generator().manual_seed(width))
    if compactors:
        network = insert(network, long_skips(network, SHAPE), SHAPE)
    return network.to(dtype).eval()


class Residual(nn.Module):
    """Two residual blocks between a head and a tail: all block outputs are tied."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(width, width + 2, 3, padding=1) for _ in range(2))
        self.second = nn.ModuleList(nn.Conv2d(width + 2, width, 3, padding=1) for _ in range(2))
        self.act = nn.LeakyReLU(0.2, inplace=True)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        y = self.head(x)
        for first, second in zip(self.first, self.second, strict=True):
            y = y + second(self.act(first(y)))
        return self.tail(y)


class Shuffled(nn.Module):
    """Works at half resolution and returns through PixelShuffle."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.LeakyReLU(0.2, inplace=True)
        self.up = nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W), even H and W."""
        y = self.head(x)
        return self.tail(self.up(y + self.act(self.body(y))))


class Grouped(nn.Module):
    """A grouped convolution behind BatchNorm: every place holds two channels of each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.grouped, self.tail = (
            nn.Conv2d(8, 12, 3, padding=1, groups=2),
            nn.Conv2d(12, 3, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(torch.relu(self.grouped(torch.relu(self.norm(self.head(x))))))


def layout_at(network: nn.Module, shape: Inputs) -> Layout:
    """The layout at a shape."""
    return layout(trace(network, shape))


def layout_of(network: nn.Module) -> Layout:
    """The layout at the small test shape."""
    return layout_at(network, SHAPE)


def random_kept(channels: Layout, seed: int, least: int = 1) -> dict[str, list[int]]:
    """A random set of at least `least` channels (or all) of about four in five units."""
    rng = random.Random(seed)
    cut = {unit: full for unit, full in channels.widths.items() if rng.random() < 0.8}
    return {
        unit: sorted(rng.sample(range(full), rng.randint(min(least, full), full)))
        for unit, full in cut.items()
    }

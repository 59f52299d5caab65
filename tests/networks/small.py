"""Small networks for tests, and random selections of their channels."""

import random

import torch
from torch import Tensor, nn

from bench.channels.units import Layout, channel_layout
from bench.contract import Inputs, Shape
from bench.graph.lowering import trace
from bench.surgery.compactors import insert_compactors, long_skips
from tasks.models.initialisation import initialise
from tasks.models.unet import UNet

SHAPE: Shape = (1, 3, 32, 32)


def unet(
    width: int = 4,
    compactors: bool = False,
    dtype: torch.dtype = torch.float32,
    residual: bool = False,
) -> nn.Module:
    """Return a U-Net with random weights, in eval mode."""
    network: nn.Module = UNet(width, global_residual=residual)
    initialise(network, torch.Generator().manual_seed(width))
    if compactors:
        network = insert_compactors(network, long_skips(network, SHAPE), SHAPE)
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
    """A grouped convolution behind BatchNorm: every slot holds two channels of each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.tail = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(torch.relu(self.grouped(torch.relu(self.norm(self.head(x))))))


def network_layout(network: nn.Module, shape: Inputs = SHAPE) -> Layout:
    """Return the channel layout of a network at a shape, by default the small test shape."""
    return channel_layout(trace(network, shape))


def draw_kept(layout: Layout, seed: int, least: int = 1) -> dict[str, list[int]]:
    """Draw the channels to keep: at least `least` (or all) in about four of five units."""
    rng = random.Random(seed)
    drawn = {unit: width for unit, width in layout.widths.items() if rng.random() < 0.8}
    return {
        unit: sorted(rng.sample(range(width), rng.randint(min(least, width), width)))
        for unit, width in drawn.items()
    }

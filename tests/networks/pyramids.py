"""Public restoration networks with several sizes of feature maps: HINet and NAFNet.

Written anew after their papers and repositories; the default widths are small.
"""

import torch
from torch import Tensor, nn

from tasks.models.res_unet import Block
from tests.networks.chains import conv


class HalfInstanceNormBlock(nn.Module):
    """Chen et al. 2021: half of the channels are normalised, the other half are not."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.beside = conv(c_in, c_out, 1)
        self.conv1 = conv(c_in, c_out)
        self.conv2 = conv(c_out, c_out)
        self.norm = nn.InstanceNorm2d(c_out // 2, affine=True)
        self.act1 = nn.LeakyReLU(0.2)
        self.act2 = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        normalised, plain = torch.chunk(self.conv1(x), 2, dim=1)
        y = self.act1(torch.cat([self.norm(normalised), plain], dim=1))
        y = self.act2(self.conv2(y))
        y += self.beside(x)
        return y


class HINet(nn.Module):
    """One stage: half-instance-norm blocks on the way down, plain ones on the way up."""

    def __init__(self, width: int = 4, levels: int = 3) -> None:
        super().__init__()
        c = [width * 2**level for level in range(levels)]
        self.head = conv(3, width)
        self.tail = conv(width, 3)
        self.encoder = nn.ModuleList(
            HalfInstanceNormBlock(c_in, c_out)
            for c_in, c_out in zip([width, *c[:-1]], c, strict=True)
        )
        self.down = nn.ModuleList(
            nn.Conv2d(channels, channels, 4, stride=2, padding=1, bias=False) for channels in c[:-1]
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * channels, channels, 2, stride=2) for channels in c[-2::-1]
        )
        self.skips = nn.ModuleList(conv(channels, channels) for channels in c[-2::-1])
        self.decoder = nn.ModuleList(Block(2 * channels, channels) for channels in c[-2::-1])

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W), with H and W multiples of 4."""
        y = self.head(x)
        skips = []
        for level, block in enumerate(self.encoder):
            y = block(y)
            if level < len(self.down):
                skips.append(y)
                y = self.down[level](y)
        for up, skip, block in zip(self.up, self.skips, self.decoder, strict=True):
            y = block(torch.cat([up(y), skip(skips.pop())], dim=1))
        return self.tail(y) + x


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W), written out.

    Args:
        flat: the weights have (C,) and are viewed as (1, C, 1, 1), instead of having that shape.
    """

    def __init__(self, channels: int, flat: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.flat, self.eps = flat, eps
        shape = (channels,) if flat else (1, channels, 1, 1)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        centred = x - x.mean(1, keepdim=True)
        y = centred / (centred.pow(2).mean(1, keepdim=True) + self.eps).sqrt()
        if self.flat:
            return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)
        return y * self.weight + self.bias


class SimpleGate(nn.Module):
    """The product of the two halves of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2 C, H, W) -> (N, C, H, W)."""
        first, second = x.chunk(2, dim=1)
        return first * second


class NAFBlock(nn.Module):
    """Chen et al. 2022: the only activation is the gate.

    With simplified channel attention; both halves are scaled by learned weights.
    """

    def __init__(self, channels: int, flat: bool = False) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, flat)
        self.norm2 = ChannelNorm(channels, flat)
        self.gate = SimpleGate()
        self.widen = conv(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(channels, channels, 1))
        self.narrow = conv(channels, channels, 1)
        self.forth = conv(channels, 2 * channels, 1)
        self.back = conv(channels, channels, 1)
        self.beta, self.gamma = (
            nn.Parameter(torch.full((1, channels, 1, 1), scale)) for scale in (0.5, 0.25)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        y = self.gate(self.depthwise(self.widen(self.norm1(x))))
        y = self.narrow(y * self.attention(y))
        x = x + y * self.beta
        return x + self.back(self.gate(self.forth(self.norm2(x)))) * self.gamma


class NAFNet(nn.Module):
    """A U of NAF blocks with added skips.

    Strided 2x2 convolutions lead down, 1x1 convolutions with PixelShuffle up.
    """

    def __init__(self, width: int = 4, levels: int = 2, flat: bool = False) -> None:
        super().__init__()
        c = [width * 2**level for level in range(levels + 1)]
        self.head = conv(3, width)
        self.tail = conv(width, 3)
        self.encoder = nn.ModuleList(NAFBlock(channels, flat) for channels in c[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(channels, 2 * channels, 2, stride=2) for channels in c[:-1]
        )
        self.middle = NAFBlock(c[-1], flat)
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * channels, 4 * channels, 1, bias=False), nn.PixelShuffle(2))
            for channels in c[-2::-1]
        )
        self.decoder = nn.ModuleList(NAFBlock(channels, flat) for channels in c[-2::-1])

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W), with H and W multiples of 2 ** levels."""
        y = self.head(x)
        skips = []
        for block, down in zip(self.encoder, self.down, strict=True):
            skips.append(block(y))
            y = down(skips[-1])
        y = self.middle(y)
        for up, block in zip(self.up, self.decoder, strict=True):
            y = up(y)
            y = y + skips.pop()
            y = block(y)
        return self.tail(y) + x

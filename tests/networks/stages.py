"""A public restoration network of two stages that returns one image for each.

After MPRNet (Zamir et al. 2021), written anew.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from tests.networks.chains import conv


class ChannelAttentionBlock(nn.Module):
    """Two convolutions, gated by the global average of each channel, added to the input."""

    def __init__(self, channels: int, bias: bool = False) -> None:
        super().__init__()
        inner = max(1, channels // 3)
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            nn.PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        y = self.body(x)
        y = y * self.gate(y)
        y += x
        return y


class Supervised(nn.Module):
    """Makes an image from features, which gates the features passed to the next stage."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = conv(channels, channels)
        self.image = conv(channels, 3)
        self.gate = conv(3, channels)

    def forward(self, features: Tensor, degraded: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) and (N, 3, H, W) -> (N, C, H, W) and the image."""
        image = self.image(features) + degraded
        return self.features(features) * torch.sigmoid(self.gate(image)) + features, image


class AttentionUNet(nn.Module):
    """Channel attention blocks at three sizes, with added skips.

    Bilinear resizing and 1x1 convolutions lead from one size to the next.
    """

    def __init__(self, channels: int, more: int) -> None:
        super().__init__()
        c = [channels + more * level for level in range(3)]
        self.encoder = nn.ModuleList(ChannelAttentionBlock(width) for width in c)
        self.skips = nn.ModuleList(ChannelAttentionBlock(width) for width in c[:2])
        self.decoder = nn.ModuleList(ChannelAttentionBlock(width) for width in c[1::-1])
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=0.5, mode="bilinear", align_corners=False),
                conv(fine, coarse, 1),
            )
            for fine, coarse in pairwise(c)
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                conv(coarse, fine, 1),
            )
            for fine, coarse in ((c[1], c[2]), (c[0], c[1]))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), with H and W multiples of 4."""
        fine = self.encoder[0](x)
        middle = self.encoder[1](self.down[0](fine))
        y = self.encoder[2](self.down[1](middle))
        y = self.decoder[0](self.up[0](y) + self.skips[1](middle))
        return self.decoder[1](self.up[1](y) + self.skips[0](fine))


class MPRNet(nn.Module):
    """Two stages.

    A U of attention blocks, and attention blocks at full size that read its supervised features.
    """

    def __init__(self, width: int = 4, more: int = 2) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(3, width), ChannelAttentionBlock(width))
        self.second = nn.Sequential(conv(3, width), ChannelAttentionBlock(width))
        self.unet = AttentionUNet(width, more)
        self.supervised = Supervised(width)
        self.join = conv(2 * width, width + more)
        self.blocks = nn.ModuleList(ChannelAttentionBlock(width + more) for _ in range(2))
        self.end = conv(width + more, width + more)
        self.tail = conv(width + more, 3)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> the images of the second and of the first stage."""
        features, image = self.supervised(self.unet(self.first(x)), x)
        joined = self.join(torch.cat([self.second(x), features], 1))
        y = joined
        for block in self.blocks:
            y = block(y)
        y = self.end(y)
        y += joined
        return [self.tail(y) + x, image]

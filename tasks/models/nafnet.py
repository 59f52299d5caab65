"""NAFNet, a U-Net of blocks without activation functions.

Chen et al., "Simple Baselines for Image Restoration", ECCV 2022 (arXiv 2204.04676). Four levels and
a middle; a 2x2 convolution of stride 2 doubles the channels on the way down, a 1x1 convolution and
PixelShuffle halve them on the way up, where the skip is *added*. 3x3 convolutions at both ends, and
the input is added to the output. A block has two halves, each added to its input times a learned
weight per channel that starts at zero:

    LayerNorm, 1x1 to 2 c, depthwise 3x3, gate, channel attention, 1x1       (times beta)
    LayerNorm, 1x1 to 2 c, gate, 1x1                                         (times gamma)

The gate multiplies one half of the channels by the other; the attention multiplies each channel by
a 1x1 convolution of the means of all. Skips are sums, so the layers of a level form one unit.

Default: that of denoising (SIDD) at width 32, 29,159,715 parameters and 16.0 G MACs at 1x3x256x256.
Deblurring (GoPro) has encoder1 = encoder2 = encoder3 = middle = decoder = 1 and encoder4 = 28:
17,111,907 parameters.
"""

import torch
from torch import Tensor, nn

from tasks.models.channel_norm import ChannelNorm
from tasks.models.initialisation import LINEAR_GAIN, set_gain

EPS = 1e-6


class SimpleGate(nn.Module):
    """Product of the two halves of the channels, (N, 2 C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the halves."""
        first, second = x.chunk(2, 1)
        return first * second


class ChannelAttention(nn.Module):
    """Weight each channel by a linear function of the means of all, (N, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the weights."""
        return x * self.mix(self.pool(x))


class Block(nn.Module):
    """One block, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            ChannelNorm(channels, EPS),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
            SimpleGate(),
            ChannelAttention(channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.pointwise = nn.Sequential(
            ChannelNorm(channels, EPS),
            nn.Conv2d(channels, 2 * channels, 1),
            SimpleGate(),
            nn.Conv2d(channels, channels, 1),
        )
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def reset_parameters(self) -> None:
        """Let the block begin as the identity; its layers are reset by themselves."""
        nn.init.zeros_(self.beta)
        nn.init.zeros_(self.gamma)

    def forward(self, x: Tensor) -> Tensor:
        """Add both halves."""
        x = x + self.spatial(x) * self.beta
        return x + self.pointwise(x) * self.gamma


class NAFNet(nn.Module):
    """NAFNet, (N, C, H, W) -> (N, C, H, W), H and W multiples of 16.

    Args:
        width: channels of the first level.
        encoder1, encoder2, encoder3, encoder4: blocks of each level on the way down.
        middle: blocks at the lowest resolution.
        decoder: blocks of each level on the way up.
        channels: of the images.
    """

    def __init__(
        self,
        width: int = 32,
        encoder1: int = 2,
        encoder2: int = 2,
        encoder3: int = 4,
        encoder4: int = 8,
        middle: int = 12,
        decoder: int = 2,
        channels: int = 3,
    ) -> None:
        super().__init__()
        blocks = (encoder1, encoder2, encoder3, encoder4)
        c = [width * 2**level for level in range(len(blocks) + 1)]
        above = range(len(blocks))
        self.head = set_gain(nn.Conv2d(channels, width, 3, padding=1), LINEAR_GAIN)
        self.encoder = nn.ModuleList(_stack(c[level], blocks[level]) for level in above)
        self.down = nn.ModuleList(
            set_gain(nn.Conv2d(c[level], c[level + 1], 2, 2), LINEAR_GAIN) for level in above
        )
        self.middle = _stack(c[-1], middle)
        self.up = nn.ModuleList(
            nn.Sequential(
                set_gain(nn.Conv2d(c[level + 1], 4 * c[level], 1, bias=False), LINEAR_GAIN),
                nn.PixelShuffle(2),
            )
            for level in reversed(above)
        )
        self.decoder = nn.ModuleList(_stack(c[level], decoder) for level in reversed(above))
        self.out = set_gain(nn.Conv2d(width, channels, 3, padding=1), LINEAR_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Restore images (N, C, H, W)."""
        degraded = x
        x = self.head(x)
        skips: list[Tensor] = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for blocks, up in zip(self.decoder, self.up, strict=True):
            x = blocks(up(x) + skips.pop())
        return degraded + self.out(x)


def _stack(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels) for _ in range(blocks)))

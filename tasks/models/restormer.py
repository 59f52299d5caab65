"""Restormer, a U-Net of transformer blocks whose attention is between channels.

Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR 2022
(arXiv 2111.09881). Four levels with 1, 2, 4 and 8 heads; a 3x3 convolution and PixelUnshuffle on
the way down, a 3x3 convolution and PixelShuffle on the way up; concat(up, skip), and a 1x1
convolution but on the first level, which keeps twice the width and is followed by the refinement;
3x3 convolutions at both ends, and the input is added to the output. No biases. A block is

    x + attention(LayerNorm(x)),   then   x + feed forward(LayerNorm(x))

Attention: query, key and value by a 1x1 and a depthwise 3x3 convolution; the C / heads channels of
a head weigh each other by the normalised products of their maps, times a learned temperature: a
matrix of C / heads squared, whatever the size of the image. Feed forward: 1x1 to two times 2.66 c
channels, depthwise 3x3, GELU of one half times the other, 1x1.

26,126,644 parameters and 141 G MACs of convolutions at 1x3x256x256 (155 G with the products of the
attention) at width 48 with 4, 6, 6, 8 blocks and 4 of refinement.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.models.channel_norm import ChannelNorm
from tasks.models.initialisation import LINEAR_GAIN, set_gain

EPS = 1e-5
EXPANSION = 2.66
BRANCH_GAIN = 0.1  # so that the sums do not grow from block to block


def _convolution(c_in: int, c_out: int, size: int = 3, gain: float = LINEAR_GAIN) -> nn.Conv2d:
    return set_gain(nn.Conv2d(c_in, c_out, size, padding=size // 2, bias=False), gain)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


class Attention(nn.Module):
    """Attention between the channels of each head, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Sequential(_convolution(channels, 3 * channels, 1), _depthwise(3 * channels))
        self.out = _convolution(channels, channels, 1, BRANCH_GAIN)

    def reset_parameters(self) -> None:
        """Reset the temperature; the layers are reset by themselves."""
        nn.init.ones_(self.temperature)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of each head."""
        query, key, value = self.qkv(x).chunk(3, 1)
        n, c, h, w = query.shape
        heads = self.temperature.shape[0]
        maps = (n, heads, c // heads, h * w)
        query = functional.normalize(query.reshape(maps), dim=-1)
        key = functional.normalize(key.reshape(maps), dim=-1)
        weights = (query @ key.transpose(-2, -1) * self.temperature).softmax(-1)
        return self.out((weights @ value.reshape(maps)).reshape(n, c, h, w))


class FeedForward(nn.Module):
    """Gated feed-forward network, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * EXPANSION)
        self.expand = nn.Sequential(_convolution(channels, 2 * hidden, 1), _depthwise(2 * hidden))
        self.out = _convolution(hidden, channels, 1, BRANCH_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Gate one half of the expanded channels by the other."""
        gate, passed = self.expand(x).chunk(2, 1)
        return self.out(functional.gelu(gate) * passed)


class Block(nn.Module):
    """Transformer block, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(ChannelNorm(channels, EPS), Attention(channels, heads))
        self.feed_forward = nn.Sequential(ChannelNorm(channels, EPS), FeedForward(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Add both halves to their inputs."""
        x = x + self.attention(x)
        return x + self.feed_forward(x)


class Restormer(nn.Module):
    """Restormer, (N, C, H, W) -> (N, C, H, W), H and W multiples of 8.

    Args:
        width: channels of the first level, an even number.
        level1, level2, level3, level4: blocks of each level; the first three on both ways.
        refinement: blocks after the last level.
        channels: of the images.

    Raises:
        ValueError: the width is odd.
    """

    def __init__(
        self,
        width: int = 48,
        level1: int = 4,
        level2: int = 6,
        level3: int = 6,
        level4: int = 8,
        refinement: int = 4,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"width = {width}; give an even number")
        blocks = (level1, level2, level3, level4)
        c = [width * 2**level for level in range(len(blocks))]
        below, above = range(1, len(blocks)), range(len(blocks) - 2, -1, -1)
        decoded = {level: c[level] if level else 2 * width for level in above}
        self.head = _convolution(channels, width)
        self.encoder = nn.ModuleList(_stack(c[k], 2**k, count) for k, count in enumerate(blocks))
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(c[level - 1], c[level - 1] // 2), nn.PixelUnshuffle(2))
            for level in below
        )
        self.up = nn.ModuleList(
            nn.Sequential(_convolution(c[level + 1], 2 * c[level + 1]), nn.PixelShuffle(2))
            for level in above
        )
        self.reduce = nn.ModuleList(
            _convolution(2 * c[level], c[level], 1) if level else nn.Identity() for level in above
        )
        self.decoder = nn.ModuleList(
            _stack(decoded[level], 2**level, blocks[level]) for level in above
        )
        self.refinement = _stack(2 * width, 1, refinement)
        self.out = _convolution(2 * width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Restore images (N, C, H, W)."""
        degraded = x
        x = self.encoder[0](self.head(x))
        skips: list[Tensor] = []
        for down, blocks in zip(self.down, list(self.encoder)[1:], strict=True):
            skips.append(x)
            x = blocks(down(x))
        for up, reduce, blocks in zip(self.up, self.reduce, self.decoder, strict=True):
            x = blocks(reduce(torch.cat((up(x), skips.pop()), 1)))
        return degraded + self.out(self.refinement(x))


def _stack(channels: int, heads: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels, heads) for _ in range(blocks)))

"""RCAN, a residual network in a residual network with channel attention, for super-resolution.

Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV
2018 (arXiv 1807.02758). As EDSR, with ten groups of twenty blocks; a group ends in a 3x3
convolution, and its input is added. A block is conv, ReLU, conv, channel attention, plus its input;
the attention multiplies each channel by a sigmoid of two 1x1 convolutions of the means of all, with
a sixteenth of the channels between them. Head, tail and colours are those of `tasks.models.edsr`.

All that is added to the trunk forms one unit. 15,444,643 / 15,629,283 / 15,592,355 parameters for
x2 / x3 / x4 at width 64.
"""

import torch
from torch import Tensor, nn

from tasks.models.edsr import BRANCH_GAIN, DIV2K_MEAN, make_upscaling
from tasks.models.initialisation import set_gain

REDUCTION = 16


class ChannelAttention(nn.Module):
    """Weight each channel by the means of all, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        between = max(1, channels // REDUCTION)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, between, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(between, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the weights."""
        return x * self.weigh(x)


class Block(nn.Module):
    """Residual block with channel attention, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            set_gain(nn.Conv2d(width, width, 3, padding=1), BRANCH_GAIN),
            ChannelAttention(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the input."""
        return x + self.branch(x)


class Group(nn.Module):
    """Residual group, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.end = set_gain(nn.Conv2d(width, width, 3, padding=1), BRANCH_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Add the blocks to the input."""
        return x + self.end(self.blocks(x))


class RCAN(nn.Module):
    """RCAN, (N, C, H, W) -> (N, C, scale H, scale W).

    Args:
        width: channels of the trunk.
        groups: number of residual groups.
        blocks: number of blocks in each group.
        scale: 2, 3 or 4.
        channels: channels of the images; the mean colour is that of RGB.

    Raises:
        ValueError: the scale is another number.
    """

    mean: Tensor

    def __init__(
        self, width: int = 64, groups: int = 10, blocks: int = 20, scale: int = 2, channels: int = 3
    ) -> None:
        super().__init__()
        self.register_buffer(
            "mean", torch.tensor(DIV2K_MEAN)[:channels, None, None], persistent=False
        )
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.groups = nn.Sequential(*(Group(width, blocks) for _ in range(groups)))
        self.end = set_gain(nn.Conv2d(width, width, 3, padding=1), BRANCH_GAIN)
        self.up = make_upscaling(width, scale)
        self.tail = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images (N, C, H, W)."""
        x = self.head(x - self.mean)
        return self.tail(self.up(x + self.end(self.groups(x)))) + self.mean

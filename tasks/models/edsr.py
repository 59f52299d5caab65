"""EDSR-baseline, a residual network for super-resolution.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR workshops
2017: a 3x3 head, residual blocks (conv, ReLU, conv, plus input) without normalisation, a 3x3
convolution and a skip around all of them, then a 3x3 convolution to scale**2 times the channels
with PixelShuffle (x4: two stages of x2), a 3x3 tail. The mean colour of DIV2K is subtracted first
and added at the end. Images are in [0, 1], not in [0, 255] as in the original.

The layers whose outputs are added form one unit, the trunk: the head, the second convolution of
every block, and the convolution after the blocks. One channel after PixelShuffle corresponds to
scale**2 channels before it. At width 64 and 16 blocks: 1,369,859 / 1,554,499 / 1,517,571 parameters
for x2 / x3 / x4; planned peak 320 / 640 / 1280 channels of the low-resolution input's size, in the
(last) convolution before PixelShuffle.
"""

import torch
from torch import Tensor, nn

from tasks.models.initialisation import set_gain

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
STAGES = {2: (2,), 3: (3,), 4: (2, 2)}
BRANCH_GAIN = 0.1  # sixteen branches of full variance would double the variance sixteen times


class Block(nn.Module):
    """Residual block, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.second = set_gain(nn.Conv2d(width, width, 3, padding=1), BRANCH_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Add the output of two convolutions to the input."""
        return x + self.second(self.act(self.first(x)))


class EDSR(nn.Module):
    """EDSR-baseline, (N, C, H, W) -> (N, C, scale H, scale W).

    Args:
        width: channels of the trunk.
        blocks: number of residual blocks.
        scale: 2, 3 or 4.
        channels: channels of the images; the mean colour is that of RGB.

    Raises:
        ValueError: the scale is another number.
    """

    mean: Tensor

    def __init__(
        self, width: int = 64, blocks: int = 16, scale: int = 2, channels: int = 3
    ) -> None:
        super().__init__()
        self.register_buffer(
            "mean", torch.tensor(DIV2K_MEAN)[:channels, None, None], persistent=False
        )
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.end = set_gain(nn.Conv2d(width, width, 3, padding=1), BRANCH_GAIN)
        self.up = make_upscaling(width, scale)
        self.tail = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images (N, C, H, W)."""
        x = self.head(x - self.mean)
        return self.tail(self.up(x + self.end(self.blocks(x)))) + self.mean


def make_upscaling(width: int, scale: int) -> nn.Sequential:
    """Return the stages (N, width, H, W) -> (N, width, scale H, scale W), for EDSR and RCAN.

    Raises ValueError if the scale is not 2, 3 or 4.
    """
    if scale not in STAGES:
        raise ValueError(f"scale = {scale}; give one of {', '.join(map(str, STAGES))}")
    stages = nn.Sequential()
    for stage, factor in enumerate(STAGES[scale], 1):
        stages.add_module(f"u{stage}", nn.Conv2d(width, factor**2 * width, 3, padding=1))
        stages.add_module(f"shuffle{stage}", nn.PixelShuffle(factor))
    return stages

"""Res-U-Net: a U-Net of residual blocks, the baseline "UNet" of Uformer (Wang et al., CVPR 2022).

The Uformer authors use it for denoising. Levels are as in `tasks.models.unet`. A block is conv3x3,
LeakyReLU(0.01), conv3x3, LeakyReLU(0.01), plus a 1x1 convolution of its input, added after the
activation. Down by a 4x4 convolution of stride 2, up by a 2x2 transposed convolution with bias;
concat(up, skip); a 3x3 output convolution; the input is added to the output.

The two summands of a block have the same channels: they are one unit. The skips between encoder and
decoder are concatenated. At width 32: 9,503,779 parameters; planned peak 1048 MiB at 1x3x1024x2048
(131 channels: skip, up, first convolution, its successor or the shortcut, input); without the
global residual 1024 MiB.
"""

import math

from torch import Tensor, nn

from tasks.models.encoder_decoder import EncoderDecoder
from tasks.models.initialisation import set_gain

SLOPE = 0.01


class Block(nn.Module):
    """Residual block, (N, C_in, H, W) -> (N, C_out, H, W)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.second = set_gain(nn.Conv2d(c_out, c_out, 3, padding=1), math.sqrt(0.5))
        # A gain of sqrt(0.5), because no activation halves the variance of the shortcut; and again
        # sqrt(0.5), because two branches are added.
        self.shortcut = set_gain(nn.Conv2d(c_in, c_out, 1), 0.5)
        self.act1 = nn.LeakyReLU(SLOPE, inplace=True)
        self.act2 = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add the outputs of the two convolutions and of the shortcut."""
        return self.act2(self.second(self.act1(self.first(x)))) + self.shortcut(x)


class ResUNet(EncoderDecoder):
    """Res-U-Net, (N, C, H, W) -> (N, C, H, W), H and W multiples of 2 ** (levels - 1).

    Args:
        width: channels of the first level.
        levels: number of resolutions, 2 to 5.
        channels: channels of the input and the output.
        global_residual: adds the input to the output.

    Raises:
        ValueError: the number of levels is out of range.
    """

    def __init__(
        self, width: int = 32, levels: int = 5, channels: int = 3, global_residual: bool = True
    ) -> None:
        super().__init__(levels, global_residual)
        c = [channels] + [width * 2**level for level in range(levels)]
        above = range(levels - 1, 0, -1)
        self.encoder = nn.ModuleList(Block(c[k - 1], c[k]) for k in range(1, levels + 1))
        self.down = nn.ModuleList(nn.Conv2d(c[k], c[k], 4, 2, 1) for k in range(1, levels))
        self.up = nn.ModuleDict({f"u{k}": nn.ConvTranspose2d(c[k + 1], c[k], 2, 2) for k in above})
        self.decoder = nn.ModuleDict({f"d{k}": Block(2 * c[k], c[k]) for k in above})
        self.out = nn.Conv2d(c[1], channels, 3, padding=1)

    def downsample(self, x: Tensor, level: int) -> Tensor:
        """Halve the resolution by a learned convolution."""
        return self.down[level - 1](x)

"""The plain U-Net of Chen et al., "Learning to See in the Dark", CVPR 2018, without its raw-sensor ends.

Five levels of width, 2 width, ..., 16 width channels; two 3x3 convolutions with LeakyReLU(0.2) each; 2x2 max-pooling; 2x2 transposed
convolutions without bias; concat(up, skip); a 1x1 output convolution. No normalisation, no global residual by default.

Names: c11 ... c52 encoder convolutions (level, place), u4 ... u1 transposed convolutions, d41 ... d12 decoder convolutions.
At width 32: 7,759,683 parameters; planned peak 768 MiB at 1x3x1024x2048, in d11, the first convolution after the last concat.
"""

import math

import torch
from torch import Generator, Tensor, nn

SLOPE = 0.2
LEVELS = 5


def _double(level: str, c_in: int, c_out: int) -> nn.Sequential:
    """Two 3x3 convolutions named `level`1 and `level`2, each followed by LeakyReLU in place."""
    block = nn.Sequential()
    for place, channels in ((1, c_in), (2, c_out)):
        block.add_module(f"{level}{place}", nn.Conv2d(channels, c_out, 3, padding=1))
        block.add_module(f"act{place}", nn.LeakyReLU(SLOPE, inplace=True))
    return block


class UNet(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, H, W), with H and W multiples of 16.

    Args:
        width: channels of the first level.
        channels: of the input and, unless `channels_out` is given, of the output.
        channels_out: of the output.
        residual: adds the input to the output.
    """

    def __init__(self, width: int = 32, channels: int = 3, channels_out: int | None = None, residual: bool = False) -> None:
        super().__init__()
        c = [channels] + [width * 2**level for level in range(LEVELS)]
        self.residual = residual
        self.encoder = nn.ModuleList(_double(f"c{k}", c[k - 1], c[k]) for k in range(1, LEVELS + 1))
        self.up = nn.ModuleDict({f"u{k}": nn.ConvTranspose2d(c[k + 1], c[k], 2, 2, bias=False) for k in range(LEVELS - 1, 0, -1)})
        self.decoder = nn.ModuleDict({f"d{k}": _double(f"d{k}", 2 * c[k], c[k]) for k in range(LEVELS - 1, 0, -1)})
        self.out = nn.Conv2d(c[1], channels_out or channels, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Restores (N, C, H, W)."""
        degraded = x if self.residual else None
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(self.pool(x) if skips else x)
            skips.append(x)
        skips.pop()  # the deepest goes on, it skips nothing; each skip is let go of where it is read
        for up, block in zip(self.up.values(), self.decoder.values(), strict=True):
            x = block(torch.cat((up(x), skips.pop()), 1))
        return self.out(x) if degraded is None else degraded + self.out(x)


def initialise(model: nn.Module, generator: Generator) -> None:
    """He initialisation for LeakyReLU(0.2); transposed convolutions with std sqrt(1 / c_in); zero bias.

    PyTorch's default lets the signal vanish over the nineteen layers: 0.5 to 3.6 dB are lost in short trainings.
    """
    for layer in model.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=math.sqrt(1 / layer.in_channels), generator=generator)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, generator=generator)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)

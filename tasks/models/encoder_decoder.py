"""The base class of the U-Nets: an encoder, long skips, and a decoder.

The forward pass, with level 0 at full resolution:

    x = encoder[0](x)
    for each deeper level:  x = encoder[k](downsample(x, k)), whose output is also kept as a skip
    for each level upwards: x = decoder[k](concat(up[k](x), skip))
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

MAX_LEVELS = 5  # inputs are padded to multiples of 2 ** 4


class EncoderDecoder(nn.Module):
    """A U-Net, (N, C_in, H, W) -> (N, C_out, H, W), H and W multiples of 2 ** (levels - 1).

    Subclasses define `encoder` (a block for each level), `up` and `decoder` (from the deepest level
    to the first), and `out`.

    Args:
        levels: number of resolutions, 2 to 5.
        global_residual: adds the input to the output.

    Raises:
        ValueError: the number of levels is out of range.
    """

    encoder: nn.ModuleList
    up: nn.ModuleDict
    decoder: nn.ModuleDict
    out: nn.Module

    def __init__(self, levels: int, global_residual: bool) -> None:
        super().__init__()
        if not 2 <= levels <= MAX_LEVELS:
            raise ValueError(f"levels = {levels}; give 2 to {MAX_LEVELS}")
        self.global_residual = global_residual

    @abstractmethod
    def downsample(self, x: Tensor, level: int) -> Tensor:
        """Halve the resolution, (N, C, H, W) -> (N, C, H / 2, W / 2), before a level >= 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Restore images (N, C, H, W)."""
        degraded = x if self.global_residual else None
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.downsample(x, level) if level else x)
            skips.append(x)
        skips.pop()  # the deepest output is x itself; pop() below frees each skip after its use
        for up, block in zip(self.up.values(), self.decoder.values(), strict=True):
            x = block(torch.cat((up(x), skips.pop()), 1))
        return self.out(x) if degraded is None else degraded + self.out(x)

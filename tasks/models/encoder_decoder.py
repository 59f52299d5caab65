"""What the U-Nets share: levels on the way down, long skips, levels on the way up.

x = encoder[0](x);  for each level below: x = encoder[k](shrunk(x, k))        what each level gives waits on a skip
for each level above: x = decoder[k](concat(up[k](x), skip))
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

MOST_LEVELS = 5  # inputs are padded to multiples of 2 ** 4


class EncoderDecoder(nn.Module):
    """(N, C_in, H, W) -> (N, C_out, H, W), with H and W multiples of 2 ** (levels - 1).

    Subclasses make `encoder` (a block for each level), `up` and `decoder` (from the deepest level
    to the first), and `out`.

    Args:
        levels: resolutions, 2 to 5.
        global_residual: adds the input to the output.

    Raises:
        ValueError: another number of levels.
    """

    encoder: nn.ModuleList
    up: nn.ModuleDict
    decoder: nn.ModuleDict
    out: nn.Module

    def __init__(self, levels: int, global_residual: bool) -> None:
        super().__init__()
        if not 2 <= levels <= MOST_LEVELS:
            raise ValueError(f"levels = {levels}; give 2 to {MOST_LEVELS}")
        self.global_residual = global_residual

    @abstractmethod
    def shrunk(self, x: Tensor, level: int) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2, W / 2), on the way to a level from 1 on."""

    def forward(self, x: Tensor) -> Tensor:
        """Restores (N, C, H, W)."""
        degraded = x if self.global_residual else None
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.shrunk(x, level) if level else x)
            skips.append(x)
        skips.pop()  # the deepest goes on, it skips nothing; each skip is let go of where it is read
        for up, block in zip(self.up.values(), self.decoder.values(), strict=True):
            x = block(torch.cat((up(x), skips.pop()), 1))
        return self.out(x) if degraded is None else degraded + self.out(x)

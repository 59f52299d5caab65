"""Bicubic scaling as in MATLAB's imresize, which super-resolution is measured by.

The kernel has a = -0.5, is widened by the scale where an image shrinks, and is normalised at the
borders; the result is rounded to 8 bit. MATLAB mirrors the image at its borders instead; the
photographs of Set5 come out within rounding of the published ones.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from bench.errors import ConfigError
from tasks.data.photographs import as_float

SCALES = (2, 3, 4)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W), float32 in [0, 1], to (N, C, *size), on 256 levels."""
    scaled = interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
    return scaled.mul_(255).round_().clamp_(0, 255).div_(255)


@dataclass(frozen=True)
class Shrunk:
    """Makes images smaller by a whole factor.

    Args:
        scale: 2, 3 or 4.

    Raises:
        ConfigError: another scale.
    """

    scale: int = 2

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ConfigError(f"scale = {self.scale} is not one of {', '.join(map(str, SCALES))}")

    def __call__(self, clean: Tensor, generator: Generator | None = None) -> Tensor:
        """(..., C, scale H, scale W), float32 in [0, 1], to (..., C, H, W); nothing is drawn."""
        height, width = (size // self.scale for size in clean.shape[-2:])
        whole = clean[..., : height * self.scale, : width * self.scale]
        return resized(whole.reshape(-1, *whole.shape[-3:]), (height, width)).reshape(
            *clean.shape[:-2], height, width
        )


def shrunk_photograph(clean: Tensor, scale: int) -> Tensor:
    """uint8 (3, H, W) of a photograph (3, scale H, scale W) of uint8 or float32 in [0, 1]."""
    return Shrunk(scale)(as_float(clean)).mul_(255).round_().to(torch.uint8)

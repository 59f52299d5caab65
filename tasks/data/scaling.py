"""Bicubic scaling as in MATLAB's imresize, the convention of the super-resolution benchmarks.

The kernel has a = -0.5, is widened by the scale when an image is reduced, and is normalised at the
borders; the result is rounded to 8 bit. MATLAB mirrors the image at its borders instead. The
downscaled photographs of Set5 agree with the published ones within rounding.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from bench.errors import ConfigError
from tasks.data.photographs import to_float

SCALES = (2, 3, 4)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images (N, C, H, W), float32 in [0, 1], to (N, C, *size), rounded to 256 levels."""
    scaled = interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
    return scaled.mul_(255).round_().clamp_(0, 255).div_(255)


@dataclass(frozen=True)
class BicubicDownscaling:
    """Degradation that reduces images by an integer factor.

    Args:
        scale: 2, 3 or 4.

    Raises:
        ConfigError: the scale is another number.
    """

    scale: int = 2

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ConfigError(f"scale = {self.scale} is not one of {', '.join(map(str, SCALES))}")

    def __call__(self, clean: Tensor, generator: Generator | None = None) -> Tensor:
        """Reduce (..., C, scale H, scale W), float32 in [0, 1], to (..., C, H, W).

        Rows and columns beyond a multiple of the scale are cropped. The generator is not used.
        """
        height, width = (size // self.scale for size in clean.shape[-2:])
        cropped = clean[..., : height * self.scale, : width * self.scale]
        images = cropped.reshape(-1, *cropped.shape[-3:])
        return resize(images, (height, width)).reshape(*clean.shape[:-2], height, width)


def downscale_photograph(clean: Tensor, scale: int) -> Tensor:
    """Reduce a photograph (3, scale H, scale W), uint8 or float32 in [0, 1], to uint8 (3, H, W)."""
    return BicubicDownscaling(scale)(to_float(clean)).mul_(255).round_().to(torch.uint8)

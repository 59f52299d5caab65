"""Synthetic degradations of embedded photographs: the noise of a camera, and low light.

A photosite counts photons, so that the variance of its signal grows with the light (shot noise);
its circuits add a constant part (read noise). Both act on linear light, before the camera applies
the sRGB curve, which brightens the shadows. For a clean sRGB value s in [0, 1]:

    x = linear(s)                                    light, by the sRGB curve (IEC 61966-2-1)
    y = x + sqrt(shot * x + read**2) * n             n ~ N(0, 1), independent per pixel and colour
    degraded = round(255 * srgb(clamp(y, 0, 1))) / 255

The defaults are a little above the noisy end of the range that Brooks et al., "Unprocessing Images
for Learned Raw Denoising", CVPR 2019, use for phone cameras (shot 0.012, read 0.015): a very dark
room; photographs then have 20 to 22 dB PSNR. Not modelled: the mosaic of colour filters (which
correlates the noise of neighbours), white balance, compression.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.errors import ConfigError


@dataclass(frozen=True)
class CameraNoise:
    """Shot and read noise in linear light; full scale is 1.

    Args:
        shot: variance per unit of light.
        read: standard deviation of the part that does not depend on the light.

    Raises:
        ConfigError: a strength is not a number of at least 0.
    """

    shot: float = 0.02
    read: float = 0.02

    def __post_init__(self) -> None:
        for name in ("shot", "read"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value < math.inf:
                raise ConfigError(
                    f"noise strength {name} is {value!r}; give a number of at least 0, "
                    f"such as {type(self)().__dict__[name]}"
                )

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add noise to `clean`.

        Args:
            clean: sRGB values of any shape, float32 in [0, 1].
            generator: source of all randomness (CPU).

        Returns:
            The noisy image, float32 in [0, 1], rounded to 256 levels.
        """
        light = to_linear(clean)
        deviation = (light * self.shot).add_(self.read**2).sqrt_()
        noise = torch.randn(clean.shape, generator=generator)
        return to_srgb(noise.mul_(deviation).add_(light).clamp_(0, 1)).mul_(255).round_().div_(255)


@dataclass(frozen=True)
class Darkness:
    """A short exposure: a share of the light, then noise in the remaining light.

        x = light * linear(s),   then noise as above

    Args:
        light: share of the light that remains, in (0, 1].
        shot: variance of the noise per unit of light; full scale is that of the long exposure.
        read: standard deviation of the constant part of the noise.

    Raises:
        ConfigError: the light is outside (0, 1], or a strength is not a number of at least 0.
    """

    light: float = 0.08
    shot: float = 0.001
    read: float = 0.002

    def __post_init__(self) -> None:
        is_number = isinstance(self.light, int | float) and not isinstance(self.light, bool)
        if not is_number or not 0 < self.light <= 1:
            raise ConfigError(
                f"light is {self.light!r}; give a number in (0, 1], the share of the light, "
                f"such as {type(self)().light}"
            )
        CameraNoise(self.shot, self.read)

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Darken `clean` and add noise.

        Args:
            clean: sRGB values of any shape, float32 in [0, 1].
            generator: source of all randomness (CPU).

        Returns:
            The dark image, float32 in [0, 1], rounded to 256 levels.
        """
        return CameraNoise(self.shot, self.read)(
            to_srgb(to_linear(clean).mul_(self.light)), generator
        )


def to_linear(srgb: Tensor) -> Tensor:
    """Convert sRGB values in [0, 1] to linear light in [0, 1]."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055).pow_(2.4))


def to_srgb(light: Tensor) -> Tensor:
    """Convert linear light in [0, 1] to sRGB values in [0, 1]."""
    return torch.where(
        light <= 0.0031308, light * 12.92, light.pow(1 / 2.4).mul_(1.055).sub_(0.055)
    )

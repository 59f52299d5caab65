"""Synthetic degradations of clean photographs: camera noise, Gaussian noise, and low light.

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

Published tables of synthetic denoising have white Gaussian noise instead, on the sRGB values:

    degraded = s + sigma / 255 * n                   neither clipped nor rounded
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.errors import ConfigError

LEVELS = 255


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
        _check_strength("shot", self.shot, CameraNoise.shot)
        _check_strength("read", self.read, CameraNoise.read)

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
class GaussianNoise:
    """Additive white Gaussian noise on sRGB values, as in published tables of denoising.

    As there (DnCNN, FFDNet, SwinIR, Restormer), the noisy image is neither clipped to [0, 1] nor
    rounded to 256 levels: a network sees the noise as it was drawn.

    Args:
        sigma: standard deviation on the scale 0 ... 255; tables have 15, 25 and 50.

    Raises:
        ConfigError: sigma is not a number of at least 0.
    """

    sigma: float = 25

    def __post_init__(self) -> None:
        _check_strength("sigma", self.sigma, 25)

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """Add noise to `clean`.

        Args:
            clean: sRGB values of any shape, float32 in [0, 1].
            generator: source of all randomness (CPU).

        Returns:
            The noisy image, float32, not confined to [0, 1].
        """
        return torch.randn(clean.shape, generator=generator).mul_(self.sigma / LEVELS).add_(clean)


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


def _check_strength(name: str, value: object, example: float) -> None:
    """Raise ConfigError if a strength of noise is not a number of at least 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:  # type: ignore[operator]
        raise ConfigError(
            f"noise strength {name} is {value!r}; give a number of at least 0, such as {example}"
        )


def to_linear(srgb: Tensor) -> Tensor:
    """Convert sRGB values in [0, 1] to linear light in [0, 1]."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055).pow_(2.4))


def to_srgb(light: Tensor) -> Tensor:
    """Convert linear light in [0, 1] to sRGB values in [0, 1]."""
    return torch.where(
        light <= 0.0031308, light * 12.92, light.pow(1 / 2.4).mul_(1.055).sub_(0.055)
    )

"""Quality of one restored photograph, on what a viewer gets: clamped to [0, 1] and rounded to 8 bit.

PSNR over all pixels and colours; SSIM with the settings of Wang et al., "Image Quality Assessment: From Error Visibility to Structural
Similarity", 2004: Gaussian window of 11 x 11 with sigma 1.5, population covariance, mean over places and colours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.errors import PluginError

if TYPE_CHECKING:
    from numpy import ndarray

LEVELS = 255


def psnr_db(restored: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two (C, H, W).

    Equal images get the value of images of which one number differs by one level, so that scores stay finite.
    Raises PluginError if a value is not a finite number, or the shapes differ.
    """
    from skimage.metrics import mean_squared_error

    error = mean_squared_error(_eight_bit(clean, restored), _eight_bit(restored, clean))
    return 10 * math.log10(LEVELS**2 / max(float(error), 1 / clean.numel()))


def ssim(restored: Tensor, clean: Tensor) -> float:
    """Structural similarity of two (C, H, W), at least 11 x 11. Raises PluginError if a value is not finite, or the shapes differ."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            _eight_bit(clean, restored),
            _eight_bit(restored, clean),
            data_range=LEVELS,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _eight_bit(image: Tensor, other: Tensor) -> ndarray:
    """(C, H, W) as 256 levels."""
    if image.shape != other.shape:
        raise PluginError(f"restored and clean photograph differ in shape: {tuple(image.shape)} and {tuple(other.shape)}")
    if not bool(torch.isfinite(image).all()):
        raise PluginError("a photograph to be scored holds values that are not finite numbers: the network that restored it has diverged")
    return quantised(image).cpu().numpy()


def quantised(image: Tensor) -> Tensor:
    """uint8 of an image of any shape: clamped to [0, 1], rounded to the nearest of 256 levels."""
    return image.detach().clamp(0, 1).mul(LEVELS).round().to(torch.uint8)

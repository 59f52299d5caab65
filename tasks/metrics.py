"""Quality of one restored photograph, on what a viewer gets: clamped to [0, 1] and rounded to 8 bit.

PSNR over all pixels and colours; SSIM with the settings of Wang et al., "Image Quality Assessment:
From Error Visibility to Structural Similarity", 2004: Gaussian window of 11 x 11 with sigma 1.5,
population covariance, mean over places and colours.

Both may look at a part of what is there, such as the luma without a border, which is not rounded
again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.errors import PluginError

if TYPE_CHECKING:
    from numpy import ndarray

LEVELS = 255
LUMA = (65.738 / 256, 129.057 / 256, 25.064 / 256)  # of 256 levels of RGB; 16 is added
View = Callable[["ndarray"], "ndarray"]  # 256 levels, (C, H, W) -> what is looked at, (C', H', W')


def psnr_db(restored: Tensor, clean: Tensor, view: View | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two (C, H, W).

    Equal images get the value of images of which one number differs by one level, so that scores
    stay finite. Raises PluginError if a value is not a finite number, or the shapes differ.
    """
    from skimage.metrics import mean_squared_error

    one, other = _seen(restored, clean, view)
    return 10 * math.log10(LEVELS**2 / max(float(mean_squared_error(other, one)), 1 / one.size))


def ssim(restored: Tensor, clean: Tensor, view: View | None = None) -> float:
    """Structural similarity of two (C, H, W), of which at least 11 x 11 are looked at.

    Raises PluginError if a value is not finite, or the shapes differ.
    """
    from skimage.metrics import structural_similarity

    one, other = _seen(restored, clean, view)
    return float(
        structural_similarity(
            other,
            one,
            data_range=LEVELS,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def luma_inside(border: int) -> View:
    """The luma (Y of YCbCr, ITU-R BT.601, 16 ... 235) of RGB without a border."""

    def view(levels: ndarray) -> ndarray:
        red, green, blue = levels[
            :, border : levels.shape[1] - border, border : levels.shape[2] - border
        ].astype("float64")
        return (16 + LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[None]

    return view


def _seen(restored: Tensor, clean: Tensor, view: View | None) -> tuple[ndarray, ndarray]:
    """What is compared of the two."""
    one, other = _eight_bit(restored, clean), _eight_bit(clean, restored)
    return (view(one), view(other)) if view else (one, other)


def _eight_bit(image: Tensor, other: Tensor) -> ndarray:
    """(C, H, W) as 256 levels."""
    if image.shape != other.shape:
        raise PluginError(
            f"restored and clean photograph differ in shape: {tuple(image.shape)} and {tuple(other.shape)}"
        )
    if not bool(torch.isfinite(image).all()):
        raise PluginError(
            "a photograph to be scored holds values that are not finite numbers: the network that restored it has diverged"
        )
    return quantised(image).cpu().numpy()


def quantised(image: Tensor) -> Tensor:
    """uint8 of an image of any shape: clamped to [0, 1], rounded to the nearest of 256 levels."""
    return image.detach().clamp(0, 1).mul(LEVELS).round().to(torch.uint8)

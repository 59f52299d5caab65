"""Quality of a restored photograph, after it is clamped to [0, 1] and rounded to 8 bit.

PSNR is computed over all pixels and colours; SSIM with the settings of Wang et al., "Image Quality
Assessment: From Error Visibility to Structural Similarity", 2004: Gaussian window of 11 x 11 with
sigma 1.5, population covariance, mean over positions and colours.

Both can be restricted to a view of the image, such as the luma without a border; the values of a
view are not rounded again.
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
LUMA = (65.738 / 256, 129.057 / 256, 25.064 / 256)  # weights of RGB in 256 levels; 16 is added
View = Callable[["ndarray"], "ndarray"]  # levels 0 ... 255 (C, H, W) -> compared part (C', H', W')


def psnr_db(restored: Tensor, clean: Tensor, view: View | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two images (C, H, W).

    Equal images get the value of images that differ by one level in a single number, so that scores
    stay finite.

    Args:
        restored: the image to be scored.
        clean: the reference.
        view: selects the part that is compared; by default the whole image.

    Raises:
        PluginError: a value is not finite, or the shapes differ.
    """
    from skimage.metrics import mean_squared_error

    image, reference = _prepare(restored, clean, view)
    error = max(float(mean_squared_error(reference, image)), 1 / image.size)
    return 10 * math.log10(LEVELS**2 / error)


def ssim(restored: Tensor, clean: Tensor, view: View | None = None) -> float:
    """Structural similarity of two images (C, H, W).

    Args:
        restored: the image to be scored.
        clean: the reference.
        view: selects the part that is compared, at least 11 x 11; by default the whole image.

    Raises:
        PluginError: a value is not finite, or the shapes differ.
    """
    from skimage.metrics import structural_similarity

    image, reference = _prepare(restored, clean, view)
    return float(
        structural_similarity(
            reference,
            image,
            data_range=LEVELS,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def luma_without_border(border: int) -> View:
    """Return a view of RGB: its luma (Y of YCbCr, ITU-R BT.601, 16 ... 235) without a border.

    Args:
        border: width of the border in pixels.
    """

    def view(levels: ndarray) -> ndarray:
        _, height, width = levels.shape
        inside = levels[:, border : height - border, border : width - border]
        red, green, blue = inside.astype("float64")
        return (16 + LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[None]

    return view


def _prepare(restored: Tensor, clean: Tensor, view: View | None) -> tuple[ndarray, ndarray]:
    """Check both images, round them to 8 bit and apply the view."""
    if restored.shape != clean.shape:
        raise PluginError(
            "restored and clean photograph differ in shape: "
            f"{tuple(restored.shape)} and {tuple(clean.shape)}"
        )
    image, reference = (_to_8_bit(tensor) for tensor in (restored, clean))
    return (view(image), view(reference)) if view else (image, reference)


def _to_8_bit(image: Tensor) -> ndarray:
    """Convert an image (C, H, W) to levels 0 ... 255. Raises PluginError."""
    if not bool(torch.isfinite(image).all()):
        raise PluginError(
            "a photograph to be scored holds values that are not finite numbers: "
            "the network that restored it has diverged"
        )
    return quantise(image).cpu().numpy()


def quantise(image: Tensor) -> Tensor:
    """Clamp an image of any shape to [0, 1] and round it to 256 levels, uint8."""
    return image.detach().clamp(0, 1).mul(LEVELS).round().to(torch.uint8)

"""PSNR and SSIM against second implementations, written from the formulas."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from bench.errors import PluginError
from tasks.metrics import psnr_db, ssim


def make_images(spread: float) -> tuple[Tensor, Tensor]:
    """Return a noisy picture that leaves [0, 1], and the smooth picture without noise."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.nn.functional.interpolate(
        torch.rand(1, 3, 6, 7, generator=generator), (41, 53), mode="bicubic"
    )[0].clamp(0, 1)
    return clean + spread * torch.randn(clean.shape, generator=generator), clean


def to_levels(image: Tensor) -> Tensor:
    """Round an image to levels 0 ... 255, float64."""
    return (image.double() * 255).clamp(0, 255).round()


def ssim_by_formula(restored: Tensor, clean: Tensor) -> float:
    """SSIM of Wang et al. 2004, Eq. 13: 11 x 11 Gaussian of sigma 1.5, without padding."""
    ramp = torch.arange(-5, 6, dtype=torch.float64)
    gauss = torch.exp(-(ramp**2) / (2 * 1.5**2))
    window = torch.outer(gauss, gauss)[None, None] / gauss.sum() ** 2
    x, y = (to_levels(image)[:, None] for image in (restored, clean))
    mean_x, mean_y = conv2d(x, window), conv2d(y, window)
    var_x, var_y = conv2d(x * x, window) - mean_x**2, conv2d(y * y, window) - mean_y**2
    covariance = conv2d(x * y, window) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    map_ = (
        (2 * mean_x * mean_y + c1)
        * (2 * covariance + c2)
        / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    )
    return map_.mean().item()


@pytest.mark.parametrize("spread", [0.01, 0.1, 0.5])
def test_psnr_is_ten_log_of_peak_squared_over_mean_square(spread: float) -> None:
    restored, clean = make_images(spread)
    error = (to_levels(restored) - to_levels(clean)).pow(2).mean().item()
    assert psnr_db(restored, clean) == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)


@pytest.mark.parametrize("spread", [0.01, 0.1, 0.5])
def test_ssim_follows_the_formula(spread: float) -> None:
    assert ssim(*make_images(spread)) == pytest.approx(
        ssim_by_formula(*make_images(spread)), abs=1e-7
    )


def test_what_a_viewer_cannot_see_does_not_count() -> None:
    clean = to_levels(make_images(0)[1]).float() / 255
    clean[0, 0, :2] = torch.tensor([0.0, 1.0])
    seen = clean + 0.4 / 255  # rounds back to the same level
    seen[0, 0, :2] = torch.tensor([-5.0, 5.0])
    assert psnr_db(seen, clean) == psnr_db(clean, clean) and ssim(seen, clean) == 1


def test_equal_images_score_finitely_and_best() -> None:
    clean = make_images(0)[1]
    one_level_off = to_levels(clean) / 255
    one_level_off[0, 0, 0] += 1 / 255 if one_level_off[0, 0, 0] < 0.5 else -1 / 255
    assert (
        psnr_db(clean, clean) == pytest.approx(psnr_db(one_level_off, clean))
        and ssim(clean, clean) == 1
    )


def test_values_that_are_no_numbers_and_other_shapes_are_refused() -> None:
    clean = make_images(0)[1]
    for metric in (psnr_db, ssim):
        with pytest.raises(PluginError, match="not finite"):
            metric(clean * float("nan"), clean)
        with pytest.raises(PluginError, match="differ in shape"):
            metric(clean[:, 1:], clean)

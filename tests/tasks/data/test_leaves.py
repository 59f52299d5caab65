"""Dead leaves: the same for everybody, alike in statistics to photographs, of all colours."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.data import embedded, leaves
from tests.tasks.data.test_embedded import photographs_of


@pytest.fixture(scope="module")
def images() -> Tensor:
    return leaves.make_leaves(leaves.BATCH, 5)


def test_an_image_depends_on_the_seed_and_its_number_alone(images: Tensor) -> None:
    assert torch.equal(leaves.make_leaves(3, 5), images[:3])
    assert not torch.equal(leaves.make_leaves(1, 6)[0], images[0])
    assert images.dtype == torch.uint8 and images.shape[1:] == (3, leaves.SIZE, leaves.SIZE)


def spectral_slope(images: Tensor) -> float:
    """Return the exponent of the power spectrum of grey images (N, H, W), by least squares."""
    size = images.shape[-1]
    window = torch.hann_window(size, periodic=False)
    centred = (images - images.mean((1, 2), keepdim=True)) * window * window[:, None]
    power = torch.fft.rfft2(centred).abs().square().mean(0)
    rows, columns = torch.fft.fftfreq(size) * size, torch.arange(size // 2 + 1)
    radius = (rows[:, None].square() + columns.square()).sqrt()
    chosen = (radius >= 4) & (radius < size / 4)
    x, y = radius[chosen].log(), power[chosen].log()
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def test_the_power_spectrum_falls_as_that_of_photographs(images: Tensor) -> None:
    photographs = [image[None, :, :256, :256] for image in photographs_of(embedded.ALL)]
    slopes = [spectral_slope(some.float().mean(1)) for some in photographs]
    ours = spectral_slope(images.float().mean(1))
    assert ours == pytest.approx(sum(slopes) / len(slopes), abs=0.4)


def test_differences_of_neighbours_have_the_heavy_tails_of_edges(images: Tensor) -> None:
    difference = images.float().mean(1).diff(dim=2)
    kurtosis = (difference**4).mean() / (difference**2).mean() ** 2
    assert kurtosis > 6  # 3 for noise


def test_colours_of_every_hue_and_grey_images_occur() -> None:
    images = leaves.make_leaves(64, 1).float() / 255
    high, low = images.amax(1), images.amin(1)
    red, green, blue = images.unbind(1)
    is_coloured = high - low > 0.2
    hue = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)[is_coloured]
    shares = torch.histc(hue, 12, -torch.pi, torch.pi) / len(hue)
    assert shares.min() > 0.01
    assert 0 < ((high - low).amax((1, 2)) == 0).sum() < 20


def test_no_image_is_both_trained_and_calibrated_on_unless_asked() -> None:
    calibration = {image.name for image in leaves.calibration_leaves()}
    assert len(calibration) == leaves.HELD_OUT
    for hold_out, shared in ((True, set()), (False, calibration)):
        assert {image.name for image in leaves.training_leaves(hold_out)} & calibration == shared


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"damaged" * 9])
def test_a_damaged_cache_is_made_again(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path))
    for name, value in (("BATCH", 1), ("COUNT", 2), ("HELD_OUT", 1), ("TOTAL", 3)):
        monkeypatch.setattr(leaves, name, value)
    made = leaves._load.__wrapped__()
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    again = leaves._load.__wrapped__()
    assert all(torch.equal(a.images[0], b.images[0]) for a, b in zip(made, again, strict=True))
    assert leaves._read(file) is not None


def test_a_blur_keeps_the_mean_and_spreads_a_point_as_its_deviation_says() -> None:
    point = torch.zeros(2, 1, 41, 41)
    point[:, :, 20, 20] = 1
    deviation = torch.tensor([1.0, 2.5])
    blurred = leaves.blur(point, deviation)[:, 0]
    assert blurred.sum((1, 2)).allclose(torch.ones(2), atol=1e-5)
    variance = (blurred.sum(1) * (torch.arange(41) - 20).square()).sum(1)
    assert variance.sqrt().allclose(deviation, rtol=0.02)

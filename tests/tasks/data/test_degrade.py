"""Camera noise has the variance of its formula, in linear light; Gaussian noise has its sigma."""

import math
import time
from collections.abc import Iterator

import pytest
import torch

from bench.errors import ConfigError
from tasks.data.degrade import CameraNoise, GaussianNoise, to_linear, to_srgb
from tasks.denoising import Denoising


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_srgb_curve_has_known_values_and_an_inverse() -> None:
    levels = torch.arange(256) / 255
    assert torch.allclose(to_srgb(to_linear(levels)), levels, atol=1e-6)
    assert to_linear(torch.tensor(188 / 255)).item() == pytest.approx(
        0.5029, abs=1e-4
    )  # half of the light is level 188


@pytest.mark.parametrize("grey", [0.45, 0.6, 0.75])
def test_variance_in_light_is_shot_times_light_plus_read_squared(grey: float) -> None:
    noise = CameraNoise(shot=0.002, read=0.02)
    clean = torch.full((1, 3, 300, 300), grey)
    light = to_linear(noise(clean, make_generator()))
    expected = 0.002 * to_linear(torch.tensor(grey)).item() + 0.02**2
    assert light.var().item() == pytest.approx(expected, rel=0.03)
    assert light.mean().item() == pytest.approx(to_linear(torch.tensor(grey)).item(), abs=1e-3)


def test_degraded_lies_on_256_levels_and_in_range() -> None:
    degraded = CameraNoise(0.5, 0.5)(
        torch.rand(2, 3, 32, 32, generator=make_generator()), make_generator(1)
    )
    assert torch.equal(degraded, (degraded * 255).round() / 255)
    assert degraded.min() == 0 and degraded.max() == 1


def test_no_noise_changes_nothing_and_the_clean_image_is_left_alone() -> None:
    clean = torch.arange(256).reshape(1, 1, 16, 16) / 255
    before = clean.clone()
    assert torch.equal(CameraNoise(0, 0)(clean, make_generator()), clean)
    CameraNoise()(clean, make_generator())
    assert torch.equal(clean, before)


def test_the_same_generator_gives_the_same_noise_and_pixels_are_independent() -> None:
    clean = torch.full((1, 3, 128, 128), 0.6)
    one, same, other = (CameraNoise()(clean, make_generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    error = (one - one.mean())[0]
    neighbours = torch.corrcoef(
        torch.stack((error[:, :, 1:].flatten(), error[:, :, :-1].flatten()))
    )[0, 1]
    colours = torch.corrcoef(error.flatten(1))[0, 1]
    assert abs(neighbours) < 0.03 and abs(colours) < 0.03


@pytest.mark.parametrize("sigma", [0, 15, 25, 50])
def test_gaussian_noise_has_the_deviation_that_is_asked_for_at_every_level(sigma: float) -> None:
    clean = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1).expand(3, 300, 300)
    noise = (GaussianNoise(sigma)(clean, make_generator()) - clean) * 255
    for level in noise:
        assert level.std().item() == pytest.approx(sigma, rel=0.01)
        assert abs(level.mean().item()) < 0.01 * sigma + 1e-6


def test_gaussian_noise_is_neither_clipped_nor_rounded_so_sigma_25_leaves_20_17_db() -> None:
    clean = (torch.rand(3, 400, 400, generator=make_generator()) > 0.5).float()
    noisy = GaussianNoise(25)(clean, make_generator(1))
    assert noisy.min() < 0 and noisy.max() > 1
    assert not torch.equal(noisy, (noisy * 255).round() / 255)
    psnr_db = -10 * math.log10((noisy - clean).square().mean().item())
    assert psnr_db == pytest.approx(20.17, abs=0.02)  # 20 log10(255 / 25)


def test_a_sigma_that_is_none_is_refused() -> None:
    for sigma in (-1, float("nan"), "loud", True):
        with pytest.raises(ConfigError, match=r"noise strength sigma is .*; give a number"):
            GaussianNoise(sigma)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"shot": -1},
        {"read": float("nan")},
        {"read": float("inf")},
        {"shot": "loud"},
        {"shot": True},
    ],
)
def test_a_strength_that_is_none_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"noise strength {next(iter(values))} is"):
        CameraNoise(**values)  # type: ignore[arg-type]


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_batch_costs_a_small_part_of_a_training_step() -> None:
    crops = Denoising().training_pairs("embedded")
    generator = make_generator()
    seconds = []
    for _ in range(30):
        start = time.thread_time()  # of this thread alone: a busy machine does not count
        crops.sample(8, 64, generator)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.010  # about 2 ms measured; the limit leaves room for slower machines

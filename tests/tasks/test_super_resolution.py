"""Super-resolution through the interface of the harness, and its metric by the formula."""

import math
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

from bench.contract import Pair
from bench.errors import ConfigError
from bench.memory.profile import profile
from bench.plugins.options import set_option_values
from bench.plugins.registry import TASKS
from bench.runner.referee import check_fits, write_out_for_task
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.trainer import TaskTrainer
from tasks.denoising import Denoising
from tasks.super_resolution import SuperResolution
from tests.networks.shaped import DecidesOnTheHeight
from tests.tasks.test_metrics import make_images

ROWS_OF_Y = numpy.array([65.738, 129.057, 25.064]) / 256


def test_it_is_registered_and_decides_the_scale_of_its_backbone() -> None:
    assert TASKS.get("super_resolution") is SuperResolution
    for scale in (2, 3, 4):
        network = SuperResolution(scale).build("edsr", width=4, blocks=1)
        assert network(torch.rand(1, 3, 12, 16)).shape == (1, 3, 12 * scale, 16 * scale)
    assert "scale" not in SuperResolution.options("edsr")


@pytest.mark.parametrize(("scale", "channels"), [(2, 320), (3, 640), (4, 1280)])
def test_peaks_are_counted_at_the_input_whose_output_is_2k(scale: int, channels: int) -> None:
    task = SuperResolution(scale)
    _, _, height, width = task.measured_at
    assert 2048 <= width * scale < 2048 + scale and 1024 <= height * scale < 1024 + scale
    assert profile(task.build("edsr"), task.measured_at).peak_bytes == channels * 4 * height * width


class NeedsEvenSizes(nn.Module):
    """(N, 3, H, W) -> (N, 3, 2 H, 2 W) by way of half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, 48, 3, padding=1), nn.PixelShuffle(4)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_photographs_are_padded_for_a_network_that_needs_even_sizes(monkeypatch) -> None:
    odd = Pair("odd", torch.rand(3, 33, 45), torch.rand(3, 66, 90))
    monkeypatch.setattr(SuperResolution, "test_sets", lambda task, data: {"one": [odd]})
    with pytest.raises(RuntimeError, match="divisible"):
        evaluate(SuperResolution(2), NeedsEvenSizes(), "embedded")
    scores = evaluate(SuperResolution(2, pad_to_multiple=2), NeedsEvenSizes(), "embedded")
    assert set(scores["one"]["odd"]) == {"psnr_db", "ssim"}


def test_the_multiple_is_an_option_that_leaves_what_is_stored_alone_where_it_is_not_set() -> None:
    plain, even = SuperResolution(3), SuperResolution(3, pad_to_multiple=2)
    assert "pad_to_multiple" not in set_option_values(plain)
    assert set_option_values(even)["pad_to_multiple"] == 2
    assert (plain.measured_at, even.measured_at) == ((1, 3, 342, 683), (1, 3, 342, 684))
    assert replace(even, scale=4).size_multiple == 2 and plain.size_multiple == 1


def test_a_network_that_needs_even_sizes_is_told_of_the_option() -> None:
    crops = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    with pytest.raises(ConfigError, match="set pad_to_multiple of the task"):
        check_fits("net", NeedsEvenSizes(), SuperResolution(2), *crops)
    check_fits("net", NeedsEvenSizes(), SuperResolution(2, pad_to_multiple=2), *crops)


def test_a_network_that_decides_on_sizes_is_told_of_the_option_too() -> None:
    message = "another network at 1x3x28x24 .* set pad_to_multiple of the task and patch"
    with pytest.raises(ConfigError, match=message):
        write_out_for_task(
            DecidesOnTheHeight().eval(),
            (1, 3, 20, 24),
            SuperResolution(),
            "embedded",
            torch.rand(1, 3, 28, 24),
        )


@pytest.mark.parametrize("multiple", [0, -2, 2000])
def test_a_multiple_out_of_range_is_refused(multiple: int) -> None:
    with pytest.raises(ConfigError, match=f"pad_to_multiple = {multiple} cannot be used"):
        SuperResolution(pad_to_multiple=multiple)


def test_a_multiple_that_is_too_small_for_the_backbone_of_a_task_is_refused() -> None:
    assert Denoising(pad_to_multiple=32).build("unet", width=2)
    with pytest.raises(ConfigError, match="pad_to_multiple = 2 is not enough for the backbones"):
        Denoising(pad_to_multiple=2).build("unet", width=2)


@pytest.mark.parametrize("scale", [2, 3])
def test_psnr_is_that_of_the_luma_of_8_bit_without_a_border(scale: int) -> None:
    restored, clean = make_images(0.05)
    one, other = (
        numpy.round(numpy.clip(image.numpy().astype(float), 0, 1) * 255)
        for image in (restored, clean)
    )
    luma = numpy.einsum("c,chw->hw", ROWS_OF_Y, one - other)[scale:-scale, scale:-scale]
    assert SuperResolution(scale).score(restored, clean)["psnr_db"] == pytest.approx(
        10 * math.log10(255**2 / (luma**2).mean()), abs=1e-3
    )


@pytest.mark.parametrize(
    ("scale", "psnr_db", "ssim"),
    [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)],
    ids=["x2", "x3", "x4"],
)
def test_bicubic_on_set5_has_the_published_scores(
    scale: int, psnr_db: float, ssim: float, data_folder: Path
) -> None:
    """As in the tables of Kim et al., VDSR, CVPR 2016."""
    found = means({"set5": input_scores(SuperResolution(scale), str(data_folder / "sr"))["set5"]})
    assert found["psnr_db"] == pytest.approx(psnr_db, abs=0.05)
    assert found["ssim"] == pytest.approx(ssim, abs=0.002)


def test_crops_show_the_same_region_at_both_sizes(data_folder: Path) -> None:
    task = SuperResolution(3)
    for data in ("embedded", str(data_folder / "sr")):
        degraded, clean = task.training_pairs(data).sample(6, 48, torch.Generator().manual_seed(0))
        assert (degraded.shape, clean.shape) == ((6, 3, 16, 16), (6, 3, 48, 48))
        enlarged = torch.stack([task.baseline_image(crop) for crop in degraded])
        assert (enlarged - clean).abs().mean() < 0.5 * (clean.roll(1, 0) - clean).abs().mean()


@pytest.mark.parametrize("data", ["embedded", "sr"])
def test_a_patch_that_is_no_multiple_of_the_scale_is_refused(data: str, data_folder: Path) -> None:
    crops = SuperResolution(3).training_pairs(
        data if data == "embedded" else str(data_folder / data)
    )
    with pytest.raises(ConfigError, match="patch = 64 must be a multiple of the scale, 3"):
        crops.sample(1, 64, torch.Generator())


def test_a_short_training_on_real_photographs_beats_bicubic(data_folder: Path) -> None:
    """Also on Set14, whose grey photograph is read as RGB."""
    task = SuperResolution(2)
    data = str(data_folder / "sr")
    recipe = replace(task.recipe, patch=64, pretrain_rate=4e-3)
    network = task.build("edsr", width=16, blocks=1)
    trainer = TaskTrainer(task, data, recipe, seed=0)
    trainer.reinitialise(network)
    trainer.fit(network, 600, phase="pretrain")
    restored, bicubic = evaluate(task, network, data), input_scores(task, data)
    assert list(restored) == ["set5", "set14"] and "bridge.png" in restored["set14"]
    assert means(restored)["psnr_db"] > means(bicubic)["psnr_db"] + 0.3

"""Super-resolution through the interface of the harness, and its metric by the formula."""

import math
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch

from bench.errors import ConfigError
from bench.memory.profile import profile
from bench.plugins.registry import TASKS
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.trainer import TaskTrainer
from tasks.super_resolution import SuperResolution
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

"""Bicubic scaling against MATLAB's, as published with Set5, and against Pillow's."""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from bench.errors import ConfigError
from tasks.data.photographs import read_photograph
from tasks.data.scaling import BicubicDownscaling, downscale_photograph, resize
from tasks.metrics import psnr_db


@pytest.mark.parametrize("scale", [2, 4])
def test_set5_comes_out_as_published(scale: int, data_folder: Path) -> None:
    folder = data_folder / "sr/set5"
    for path in sorted((folder / "hr").iterdir()):
        published = read_photograph(folder / f"lr_x{scale}" / path.name)
        height, width = (scale * size for size in published.shape[1:])
        ours = downscale_photograph(read_photograph(path)[:, :height, :width], scale)
        assert psnr_db(ours / 255, published / 255) > 50


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_pillows(scale: int) -> None:
    pixels = numpy.random.default_rng(0).integers(0, 256, (36, 48, 3), numpy.uint8)
    theirs = torch.from_numpy(
        numpy.array(
            Image.fromarray(pixels).resize((48 // scale, 36 // scale), Image.Resampling.BICUBIC)
        )
    )
    ours = downscale_photograph(torch.from_numpy(pixels).permute(2, 0, 1), scale)
    assert (ours.permute(1, 2, 0).int() - theirs.int()).abs().max() <= 1


def test_rows_and_columns_beyond_a_multiple_are_cut_off() -> None:
    clean = torch.rand(2, 3, 13, 17)
    assert torch.equal(BicubicDownscaling(4)(clean), BicubicDownscaling(4)(clean[..., :12, :16]))


def test_a_constant_picture_stays_and_values_stay_in_range() -> None:
    assert torch.equal(
        resize(torch.full((1, 3, 8, 8), 51 / 255), (24, 24)), torch.full((1, 3, 24, 24), 51 / 255)
    )
    steps = resize((torch.arange(8) % 2).float().expand(1, 3, 8, 8), (16, 16))
    assert 0 <= steps.min() <= steps.max() <= 1


def test_another_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match="scale = 5 is not one of 2, 3, 4"):
        BicubicDownscaling(5)

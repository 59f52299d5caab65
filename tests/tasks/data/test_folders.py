"""A user's own pairs: their splits, and one clear line for each possible fault."""

import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from bench.errors import ConfigError
from tasks.data.decoded_cache import load_data_set
from tasks.data.folders import pairs_folder
from tasks.data.pairs import CropSampler, PairedCrops
from tasks.denoising import Denoising
from tasks.metrics import psnr_db
from tests.tasks.data.trees import (
    Faults,
    check_refusal,
    empty_folder,
    truncate,
    write_float_image,
    write_noise,
)

PAIRS = pairs_folder("noisy", "clean")


def make_pairs_folder(root: Path, train: int = 3, val: int = 2) -> Path:
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            for number, side in enumerate(("noisy", "clean")):
                write_noise(
                    root / split / side / f"{split}{index}.png",
                    seed=100 * len(split) + 10 * number + index,
                )
    return root


def test_noisy_and_clean_are_told_apart_and_val_is_only_tested_on(tmp_path: Path) -> None:
    found = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    names = ["train0.png", "train1.png", "train2.png"]
    assert [photograph.name for photograph in found.train] == names
    assert [photograph.name for photograph in found.calibration] == names
    assert [pair.name for pair in found.test["val"]] == ["val0.png", "val1.png"]
    pixels = torch.from_numpy(numpy.array(Image.open(tmp_path / "val/noisy/val1.png")))
    assert torch.equal(found.test["val"][1].degraded, pixels.permute(2, 0, 1).float() / 255)


def test_pairs_may_be_there_to_test_on_alone(tmp_path: Path) -> None:
    (make_pairs_folder(tmp_path) / "val").rename(tmp_path / "test")
    shutil.rmtree(tmp_path / "train")
    task = Denoising()
    assert [pair.name for pair in task.test_sets(str(tmp_path))["test"]] == ["val0.png", "val1.png"]
    assert "the embedded images are trained on" in task.describe_data(str(tmp_path))
    before = task.fingerprint(str(tmp_path))
    assert Denoising(sigma=25).fingerprint(str(tmp_path)) != before  # their noise is trained on
    (tmp_path / "test" / "clean" / "val1.png").unlink()
    with pytest.raises(ConfigError, match="no partner of the same name"):
        task.fingerprint(str(tmp_path))


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    (make_pairs_folder(tmp_path) / "train/noisy/.DS_Store").write_bytes(b"\0")
    assert len(load_data_set(tmp_path, PAIRS).train) == 3


FAULTS: Faults = {
    "no clean side": (
        lambda root: shutil.rmtree(root / "train/clean"),
        r"train/clean is missing; the layout must be train/noisy",
    ),
    "no val": (
        lambda root: shutil.rmtree(root / "val"),
        r"val/noisy is missing; the layout must be",
    ),
    "empty": (lambda root: empty_folder(root / "val/noisy"), r"val/noisy is empty"),
    "one too many": (
        lambda root: write_noise(root / "train/noisy/extra.png"),
        r"train: 1 of the photographs .* noisy/extra\.png; rename",
    ),
    "other names": (
        lambda root: [
            path.rename(path.with_name(f"x_{path.name}"))
            for path in (root / "train/clean").iterdir()
        ],
        r"6 of the photographs have no partner of the same name: noisy/train0\.png, .* and 3 more",
    ),
    "other size": (
        lambda root: write_noise(root / "val/clean/val0.png", size=(25, 20)),
        r"val0\.png differ in size \(noisy 24 x 20 and clean 25 x 20",
    ),
    "text": (
        lambda root: (root / "train/noisy/train1.png").write_text("text"),
        r"train/noisy/train1\.png cannot be read as an image",
    ),
    "cut short": (
        lambda root: truncate(root / "val/clean/val1.png"),
        r"val/clean/val1\.png cannot be read as an image .*truncated",
    ),
    "wrong depth": (
        lambda root: write_float_image(root / "val/clean/val1.png"),
        r"val1\.png holds floating-point values",
    ),
    "folder inside": (
        lambda root: (root / "train/clean/more").mkdir(),
        r"train/clean holds something other than files: more",
    ),
    "tiny": (
        lambda root: [
            write_noise(root / "val" / side / "val0.png", size=(9, 20))
            for side in ("noisy", "clean")
        ],
        r"has 9 x 20 pixels, below 11 x 11",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    check_refusal(make_pairs_folder(tmp_path / "data"), PAIRS, *FAULTS[fault])


@pytest.mark.parametrize(
    ("name", "train", "held_out", "val", "input_db"),
    [
        ("polyu", 32, 5, 10, 36.89),
        ("sidd_crops", 6, 0, 3, 20.45),
        ("sidd_small256", 12, 4, 4, 29.29),
    ],
)
def test_real_pairs_have_their_known_input_psnr(
    name: str, train: int, held_out: int, val: int, input_db: float, data_folder: Path
) -> None:
    found = load_data_set(data_folder / "denoise" / name, PAIRS)
    sizes = (len(found.train), len(found.calibration), len(found.test["val"]))
    assert sizes == (train, held_out or train, val)
    scores = [psnr_db(pair.degraded, pair.clean) for pair in found.test["val"]]
    assert sum(scores) / val == pytest.approx(input_db, abs=0.01)
    degraded, clean = PairedCrops(CropSampler(found.train)).sample(
        8, 64, torch.Generator().manual_seed(0)
    )
    assert degraded.shape == clean.shape == (8, 3, 64, 64) and (degraded - clean).abs().mean() < 0.2

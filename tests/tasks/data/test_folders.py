"""A user's own pairs: what is used for what, and one clear line for each thing that can be wrong."""

import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from tasks.data.folders import pairs_folder
from tasks.data.pairs import PairedCrops
from tasks.data.prepared import prepared
from tasks.metrics import psnr_db
from tests.tasks.data.trees import Faults, assert_refused, cut_short, emptied, floating_point, write

PAIRS = pairs_folder("noisy", "clean")


def pairs(root: Path, train: int = 3, val: int = 2) -> Path:
    for part, count in (("train", train), ("val", val)):
        for index in range(count):
            for place, side in enumerate(("noisy", "clean")):
                write(
                    root / part / side / f"{part}{index}.png",
                    seed=100 * len(part) + 10 * place + index,
                )
    return root


def test_noisy_and_clean_are_told_apart_and_val_is_only_tested_on(tmp_path: Path) -> None:
    found = prepared(pairs(tmp_path), PAIRS)
    names = ["train0.png", "train1.png", "train2.png"]
    assert (
        [scene.name for scene in found.train]
        == [scene.name for scene in found.calibration]
        == names
    )
    assert [pair.name for pair in found.test["val"]] == ["val0.png", "val1.png"]
    pixels = torch.from_numpy(numpy.array(Image.open(tmp_path / "val/noisy/val1.png"))).permute(
        2, 0, 1
    )
    assert torch.equal(found.test["val"][1].degraded, pixels.float() / 255)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    (pairs(tmp_path) / "train/noisy/.DS_Store").write_bytes(b"\0")
    assert len(prepared(tmp_path, PAIRS).train) == 3


FAULTS: Faults = {
    "no clean side": (
        lambda root: shutil.rmtree(root / "train/clean"),
        r"train/clean is missing; needed is train/noisy",
    ),
    "no val": (lambda root: shutil.rmtree(root / "val"), r"val/noisy is missing; needed is"),
    "empty": (lambda root: emptied(root / "val/noisy"), r"val/noisy is empty"),
    "one too many": (
        lambda root: write(root / "train/noisy/extra.png"),
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
        lambda root: write(root / "val/clean/val0.png", size=(25, 20)),
        r"val0\.png differ in size \(noisy 24 x 20 and clean 25 x 20",
    ),
    "text": (
        lambda root: (root / "train/noisy/train1.png").write_text("text"),
        r"train/noisy/train1\.png cannot be read as an image",
    ),
    "cut short": (
        lambda root: cut_short(root / "val/clean/val1.png"),
        r"val/clean/val1\.png cannot be read as an image .*truncated",
    ),
    "wrong depth": (
        lambda root: floating_point(root / "val/clean/val1.png"),
        r"val1\.png holds floating-point values",
    ),
    "folder inside": (
        lambda root: (root / "train/clean/more").mkdir(),
        r"train/clean holds what is not a file: more",
    ),
    "tiny": (
        lambda root: [
            write(root / "val" / side / "val0.png", size=(9, 20)) for side in ("noisy", "clean")
        ],
        r"has 9 x 20 pixels, below 11 x 11",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    assert_refused(pairs(tmp_path / "data"), PAIRS, *FAULTS[fault])


@pytest.mark.parametrize(
    ("name", "train", "back", "val", "input_db"),
    [
        ("polyu", 32, 5, 10, 36.89),
        ("sidd_crops", 6, 0, 3, 20.45),
        ("sidd_small256", 14, 2, 4, 29.29),
    ],
)
def test_real_pairs_have_their_known_input_psnr(
    name: str, train: int, back: int, val: int, input_db: float, data_folder: Path
) -> None:
    found = prepared(data_folder / "denoise" / name, PAIRS)
    assert (len(found.train), len(found.calibration), len(found.test["val"])) == (
        train,
        back or train,
        val,
    )
    assert sum(
        psnr_db(pair.degraded, pair.clean) for pair in found.test["val"]
    ) / val == pytest.approx(input_db, abs=0.01)
    degraded, clean = PairedCrops(found.train).sample(8, 64, torch.Generator().manual_seed(0))
    assert degraded.shape == clean.shape == (8, 3, 64, 64) and (degraded - clean).abs().mean() < 0.2

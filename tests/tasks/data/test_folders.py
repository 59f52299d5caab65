"""A user's own pairs: what is used for what, and one clear line for each thing that can be wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from bench.errors import ConfigError
from tasks.data import folders
from tasks.data.pairs import PairedCrops
from tasks.metrics import psnr_db


def write(path: Path, seed: int = 0, size: tuple[int, int] = (24, 20)) -> None:
    """A picture of noise of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), numpy.uint8)).save(path)


def pairs(root: Path, train: int = 3, val: int = 2) -> Path:
    for part, count in (("train", train), ("val", val)):
        for index in range(count):
            for side in ("noisy", "clean"):
                write(root / part / side / f"{part}{index}.png", seed=100 * len(part + side) + index)
    return root


def test_noisy_and_clean_are_told_apart_and_val_is_only_tested_on(tmp_path: Path) -> None:
    loaded = folders.load(str(pairs(tmp_path)))
    assert (
        [scene.name for scene in loaded.train] == ["train0.png", "train1.png", "train2.png"] == [scene.name for scene in loaded.calibration]
    )
    assert [pair.name for pair in loaded.test] == ["val0.png", "val1.png"]
    pixels = torch.from_numpy(numpy.array(Image.open(tmp_path / "val/noisy/val1.png"))).permute(2, 0, 1)
    assert torch.equal(loaded.test[1].degraded, pixels.float() / 255) and loaded.test[1].degraded.shape == (3, 20, 24)


def test_one_in_eight_is_kept_back_for_judging_layers_from_eight_on(tmp_path: Path) -> None:
    loaded = folders.load(str(pairs(tmp_path, train=16)))
    kept_back, trained = {scene.name for scene in loaded.calibration}, {scene.name for scene in loaded.train}
    assert len(kept_back) == 2 and len(trained) == 14 and not kept_back & trained
    assert folders.kept_back([f"train{index}.png" for index in reversed(range(16))]) == tuple(sorted(kept_back))
    assert len(folders.kept_back([str(index) for index in range(8)])) == 1 and not folders.kept_back(list("abcdefg"))


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    (pairs(tmp_path) / "train/noisy/.DS_Store").write_bytes(b"\0")
    assert len(folders.load(str(tmp_path)).train) == 3


def test_a_changed_file_is_read_again_and_has_another_fingerprint(tmp_path: Path) -> None:
    before, parts = folders.load(str(pairs(tmp_path))), folders.fingerprint_parts(str(tmp_path))
    assert folders.load(str(tmp_path)) is before and folders.fingerprint_parts(str(tmp_path)) == parts
    write(tmp_path / "train/clean/train0.png", seed=99, size=(24, 20))
    assert not torch.equal(folders.load(str(tmp_path)).train[0].images[1], before.train[0].images[1])
    assert folders.fingerprint_parts(str(tmp_path)) != parts


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing folder": (shutil.rmtree, r"does not exist; give 'embedded' or a folder with train/noisy"),
    "no clean side": (lambda root: shutil.rmtree(root / "train/clean"), r"has no train/clean; needed are"),
    "no val": (lambda root: shutil.rmtree(root / "val"), r"has no val/noisy; needed are"),
    "empty": (lambda root: [path.unlink() for path in (root / "val/noisy").iterdir()], r"val/noisy is empty"),
    "one too many": (lambda root: write(root / "train/noisy/extra.png"), r"train: 1 of the photographs .* noisy/extra\.png; rename"),
    "other names": (
        lambda root: [path.rename(path.with_name(f"x_{path.name}")) for path in (root / "train/clean").iterdir()],
        r"6 of the photographs have no partner of the same name: clean/x_train0\.png, .* and 3 more",
    ),
    "other size": (
        lambda root: write(root / "val/clean/val0.png", size=(25, 20)),
        r"val0\.png differ in size \(noisy 24 x 20 and clean 25 x 20",
    ),
    "text": (lambda root: (root / "train/noisy/train1.png").write_text("text"), r"train/noisy/train1\.png cannot be read as an image"),
    "cut short": (
        lambda root: (root / "val/clean/val1.png").write_bytes((root / "val/clean/val1.png").read_bytes()[:700]),
        r"val/clean/val1\.png cannot be read as an image .*truncated",
    ),
    "folder inside": (lambda root: (root / "train/clean/more").mkdir(), r"train/clean holds what is not a file: more"),
    "tiny": (
        lambda root: [write(root / "val" / side / "val0.png", size=(9, 20)) for side in ("noisy", "clean")],
        r"has 9 x 20 pixels, below 11 x 11",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    spoil, message = FAULTS[fault]
    spoil(pairs(tmp_path / "data"))
    with pytest.raises(ConfigError, match=message) as error:
        folders.load(str(tmp_path / "data"))
    assert "\n" not in str(error.value)


def test_a_file_and_a_folder_one_too_high_are_told(tmp_path: Path) -> None:
    pairs(tmp_path / "camera")
    with pytest.raises(ConfigError, match="did you mean one of the folders in it: camera"):
        folders.load(str(tmp_path))
    with pytest.raises(ConfigError, match="is a file; give"):
        folders.load(str(tmp_path / "camera/val/noisy/val0.png"))


@pytest.mark.parametrize(
    ("name", "train", "back", "val", "input_db"),
    [("polyu", 32, 5, 10, 36.89), ("sidd_crops", 6, 0, 3, 20.45), ("sidd_small256", 14, 2, 4, 29.29)],
)
def test_real_pairs_have_their_known_input_psnr(name: str, train: int, back: int, val: int, input_db: float, data_folder: Path) -> None:
    loaded = folders.load(str(data_folder / "denoise" / name))
    assert (len(loaded.train), len(loaded.calibration), len(loaded.test)) == (train, back or train, val)
    assert sum(psnr_db(pair.degraded, pair.clean) for pair in loaded.test) / val == pytest.approx(input_db, abs=0.01)
    degraded, clean = PairedCrops(loaded.train).sample(8, 64, torch.Generator().manual_seed(0))
    assert degraded.shape == clean.shape == (8, 3, 64, 64) and (degraded - clean).abs().mean() < 0.2

"""Folders of clean photographs: which are trained and tested on, and how they are degraded."""

import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from bench.errors import ConfigError
from tasks.data.clean import clean_folder
from tasks.data.decoded_cache import DecodedDataSet, load_data_set
from tasks.denoising import Denoising
from tasks.low_light import LowLight
from tasks.super_resolution import SuperResolution
from tests.tasks.data.trees import (
    Faults,
    check_refusal,
    empty_folder,
    truncate,
    write_float_image,
    write_noise,
)

CLEAN = clean_folder()


def make_folder(folder: Path, count: int = 2) -> Path:
    for index in range(count):
        write_noise(folder / f"{folder.name}{index}.png", seed=10 * len(folder.name) + index)
    return folder


def make_splits(root: Path) -> Path:
    make_folder(root / "train", 3)
    make_folder(root / "test")
    return root


def load(root: Path) -> DecodedDataSet:
    return load_data_set(root, CLEAN)


def names(root: Path) -> tuple[list[str], dict[str, int]]:
    """Return the training photographs, and test set -> number of photographs."""
    found = load(root)
    return (
        [photograph.name for photograph in found.train],
        {name: len(pairs) for name, pairs in found.test.items()},
    )


def test_a_folder_of_ones_own_is_trained_and_tested_on_as_it_is_split(tmp_path: Path) -> None:
    assert names(make_splits(tmp_path)) == (
        ["train0", "train1", "train2"],
        {"test": 2},
    )


def test_of_a_folder_that_is_not_split_one_in_eight_is_tested_on_always_the_same(
    tmp_path: Path,
) -> None:
    train, test = names(make_folder(tmp_path / "holiday", 16))
    assert (len(train), test) == (14, {"test": 2})
    shutil.copytree(tmp_path / "holiday", tmp_path / "copy")
    assert names(tmp_path / "copy")[0] == train


def test_bsds500_is_trained_on_all_but_val_of_which_cbsd68_is_a_part(tmp_path: Path) -> None:
    for split in ("train", "test", "val"):
        make_folder(tmp_path / "BSDS500/images" / split)
    make_folder(tmp_path / "CBSD68", 3)
    expected = ["train0", "train1", "test0", "test1"]
    assert names(tmp_path) == (expected, {"bsds500_val": 2, "cbsd68": 3})
    assert names(tmp_path / "BSDS500") == (expected, {"bsds500_val": 2})


def test_div2k_is_trained_on_to_0800_and_tested_on_ten(tmp_path: Path) -> None:
    for number in ("0001", "0800", "0801"):
        write_noise(tmp_path / "DIV2K_train_HR" / f"{number}.png", int(number))
    make_folder(tmp_path / "DIV2K_valid_HR", 12)
    assert names(tmp_path) == (["0001", "0800"], {"div2k_valid": 10})


def test_test_sets_have_their_names_wherever_they_lie(tmp_path: Path) -> None:
    for place in ("cbsd68", "Kodak24", "benchmark/Set5/HR", "benchmark/Set14"):
        make_folder(tmp_path / place)
    (tmp_path / "benchmark/Set5/LR_bicubic").mkdir()
    sets = {"cbsd68": 2, "kodak24": 2, "set5": 2, "set14": 2}
    assert names(tmp_path) == ([], sets)
    assert names(tmp_path / "Kodak24") == ([], {"kodak24": 2})


@pytest.fixture
def quick_embedded(monkeypatch: pytest.MonkeyPatch) -> str:
    """The embedded photographs stand for the embedded images, which take seconds to make."""
    monkeypatch.setattr("tasks.restoration.EMBEDDED", "photographs")
    return "photographs"


@pytest.mark.parametrize("task", [Denoising(), Denoising(sigma=25), LowLight()])
def test_without_photographs_to_train_on_the_embedded_images_are_trained_on(
    task: Denoising | LowLight, tmp_path: Path, quick_embedded: str
) -> None:
    data = str(make_folder(tmp_path / "Kodak24"))
    for source in (task.training_pairs, task.calibration_pairs):
        found, expected = (
            source(name).sample(2, 32, torch.Generator().manual_seed(0))
            for name in (data, quick_embedded)
        )
        assert all(map(torch.equal, found, expected))
    assert list(task.photographs(data)) == ["train", "calibration", "kodak24"]
    assert "the embedded images are trained on" in task.describe_data(data)


def test_a_network_trained_elsewhere_may_be_tested_on_every_photograph_of_a_folder(
    tmp_path: Path,
) -> None:
    flat, test_set = make_folder(tmp_path / "mine", 8), make_folder(tmp_path / "Kodak24")
    found = Denoising().all_photographs(str(flat))
    assert {name: len(pairs) for name, pairs in found.items()} == {"train": 7, "test": 1}
    assert list(Denoising().all_photographs(str(test_set))) == ["kodak24"]  # no embedded image


@pytest.mark.parametrize("scale", [2, 3])
def test_super_resolution_makes_clean_photographs_of_any_folder_smaller(
    scale: int, tmp_path: Path
) -> None:
    task = SuperResolution(scale=scale)
    (pair, *_), *_ = task.test_sets(str(make_splits(tmp_path))).values()
    assert [size * scale for size in pair.degraded.shape[1:]] == list(pair.clean.shape[1:])
    crops, clean = task.training_pairs(str(tmp_path)).sample(2, 12, torch.Generator())
    assert crops.shape == (2, 3, 12 // scale, 12 // scale) and clean.shape == (2, 3, 12, 12)


def test_a_photograph_that_is_too_small_for_the_scale_is_refused(tmp_path: Path) -> None:
    write_noise(make_splits(tmp_path) / "test" / "small.png", size=(40, 12))
    assert len(Denoising().test_sets(str(tmp_path))["test"]) == 3
    with pytest.raises(ConfigError, match=r"small\.png has 40 x 12 pixels, below 15 x 15"):
        SuperResolution().test_sets(str(tmp_path))


def test_training_crops_get_new_noise_and_test_photographs_always_the_same(tmp_path: Path) -> None:
    task, data = Denoising(sigma=50), str(make_splits(tmp_path))
    generator = torch.Generator().manual_seed(0)
    crops = task.training_pairs(data)
    (one, clean), (other, _) = (crops.sample(64, 16, generator) for _ in range(2))
    assert one.std() > clean.std() and not torch.equal(one, other)
    (first, second), again = task.test_sets(data)["test"], task.test_sets(data)["test"][0]
    assert torch.equal(first.degraded, again.degraded)
    assert not torch.equal(first.degraded - first.clean, second.degraded - second.clean)
    assert (first.degraded - first.clean).std() * 255 == pytest.approx(50, rel=0.1)


def test_the_noise_depends_on_the_name_and_not_on_the_format_of_the_file(tmp_path: Path) -> None:
    make_splits(tmp_path)
    degraded = Denoising().test_sets(str(tmp_path))["test"][0].degraded
    image = Image.open(tmp_path / "test/test0.png")
    image.save(tmp_path / "test/test0.bmp")
    (tmp_path / "test/test0.png").unlink()
    assert torch.equal(Denoising().test_sets(str(tmp_path))["test"][0].degraded, degraded)


def test_the_fingerprint_changes_with_the_files_and_the_degradation(tmp_path: Path) -> None:
    data = str(make_splits(tmp_path))
    before = Denoising().fingerprint(data)
    others = [Denoising(shot=0.1), Denoising(sigma=15), Denoising(sigma=25), LowLight()]
    assert len({before, *(task.fingerprint(data) for task in others)}) == 5
    assert Denoising().fingerprint(data) == before
    write_noise(tmp_path / "test/test0.png", seed=99)
    assert Denoising().fingerprint(data) != before


def test_test_sets_alone_have_the_embedded_images_in_their_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(make_folder(tmp_path / "Set5"))
    before = Denoising().fingerprint(data)
    monkeypatch.setattr("tasks.data.embedded.fingerprint_parts", lambda data: [b"others"])
    assert Denoising().fingerprint(data) != before


def test_sixteen_photographs_are_enough_to_hold_some_out(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", 16)
    make_folder(tmp_path / "test")
    sizes = {name: len(pairs) for name, pairs in Denoising().photographs(str(tmp_path)).items()}
    assert sizes == {"train": 12, "calibration": 4, "test": 2}


def test_grey_alpha_palettes_and_16_bit_are_read(tmp_path: Path) -> None:
    make_splits(tmp_path)
    grey = numpy.random.default_rng(0).integers(0, 256, (20, 24), numpy.uint8)
    for mode in ("L", "LA", "RGBA", "P"):
        Image.fromarray(grey).convert(mode).save(tmp_path / "test" / f"{mode}.png")
    Image.fromarray(grey.astype(numpy.uint16) * 257).save(tmp_path / "test/deep.png")
    pairs = {pair.name: pair.clean for pair in Denoising().test_sets(str(tmp_path))["test"]}
    assert all(clean.shape == (3, 20, 24) for clean in pairs.values())
    assert torch.allclose(pairs["deep"], pairs["L"], atol=1e-6)
    Denoising().training_pairs(str(tmp_path)).sample(2, 16, torch.Generator())


def test_what_systems_add_to_a_folder_is_passed_over(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db"):
        (make_splits(tmp_path) / "train" / name).write_bytes(b"\0")
    assert len(load(tmp_path).train) == 3


FAULTS: Faults = {
    "cut short": (
        lambda root: truncate(root / "test/test0.png"),
        r"test/test0\.png cannot be read as an image .*truncated",
    ),
    "text": (
        lambda root: (root / "train/list.txt").write_text("train0.png"),
        r"train/list\.txt cannot be read as an image",
    ),
    "folder inside": (
        lambda root: (root / "train/more").mkdir(),
        r"train holds something other than files: more; put the photographs directly into it",
    ),
    "empty": (lambda root: empty_folder(root / "train"), r"train is empty; the layout must be"),
    "no test": (
        lambda root: shutil.rmtree(root / "test"),
        r"has nothing to test on; the layout must be photographs, or train and test",
    ),
    "floating point": (
        lambda root: write_float_image(root / "test/test1.png"),
        r"test1\.png holds floating-point values",
    ),
    "tiny": (
        lambda root: write_noise(root / "test/test1.png", size=(10, 40)),
        r"test1\.png has 10 x 40 pixels, below 11 x 11",
    ),
    "same name": (
        lambda root: [
            write_noise(root / folder / "0001.png") for folder in ("train", "DIV2K_train_HR")
        ],
        r"train/0001\.png and .*DIV2K_train_HR/0001\.png have the same name; rename one",
    ),
    "same name twice": (
        lambda root: write_noise(root / "test/test0.bmp"),
        r"test/test0\.bmp and .*test/test0\.png have the same name; rename one",
    ),
    "one alone": (
        lambda root: (
            [shutil.rmtree(root / split) for split in ("train", "test")],
            write_noise(root / "only.png"),
        ),
        r"has 1 photograph, and two are needed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    check_refusal(make_splits(tmp_path / "data"), CLEAN, *FAULTS[fault])


def test_a_folder_without_photographs_is_not_taken_for_one_of_clean_ones(tmp_path: Path) -> None:
    (tmp_path / "data/notes").mkdir(parents=True)
    (tmp_path / "data/list.txt").write_text("nothing")
    with pytest.raises(ConfigError, match=r"the task needs .*; or clean photographs: photographs"):
        Denoising().fingerprint(str(tmp_path / "data"))


def test_pairs_are_read_as_pairs_whatever_lies_beside_them(tmp_path: Path) -> None:
    for side in ("noisy", "clean"):
        for split in ("train", "val"):
            write_noise(tmp_path / split / side / "a.png")
    make_folder(tmp_path / "Kodak24")
    assert list(Denoising().test_sets(str(tmp_path))) == ["val"]

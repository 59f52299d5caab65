"""DIV2K, the benchmark sets, and folders of high-resolution photographs."""

import shutil
from pathlib import Path

import pytest
import torch

from tasks.data.decoded_cache import load_data_set
from tasks.data.div2k import super_resolution_folder
from tasks.data.photographs import read_photograph
from tasks.data.scaling import downscale_photograph
from tests.tasks.data.trees import (
    Faults,
    check_refusal,
    empty_folder,
    truncate,
    write_float_image,
    write_noise,
)

X2 = super_resolution_folder(2)


def make_div2k(root: Path) -> Path:
    """Make DIV2K with low-resolution images of noise, which differ from those made by scaling."""
    for part, numbers in (("train", (1, 2, 3)), ("valid", range(801, 813))):
        for number in numbers:
            write_noise(root / f"DIV2K_{part}_HR" / f"{number:04d}.png", seed=number, size=(48, 40))
            write_noise(
                root / f"DIV2K_{part}_LR_bicubic/X2" / f"{number:04d}x2.png",
                seed=number,
                size=(24, 20),
            )
    return root


def add_benchmark(root: Path) -> Path:
    """Add Set5 as in EDSR's archive, Set14 and Urban100 as photographs alone, of odd sizes."""
    write_noise(root / "benchmark/Set5/HR/baby.png", seed=1, size=(49, 41))
    write_noise(root / "benchmark/Set5/LR_bicubic/X2/babyx2.png", seed=2, size=(24, 20))
    write_noise(root / "benchmark/Set14/zebra.png", seed=3, size=(49, 41))
    write_noise(root / "Urban100/img_001.png", seed=4, size=(49, 41))
    return root


def test_div2k_is_read_with_its_own_low_resolution_images_and_tested_on_its_first_ten(
    tmp_path: Path,
) -> None:
    found = load_data_set(make_div2k(tmp_path), X2)
    assert [photograph.name for photograph in found.train] == ["0001.png", "0002.png", "0003.png"]
    assert torch.equal(
        found.train[1].images[0], read_photograph(tmp_path / "DIV2K_train_LR_bicubic/X2/0002x2.png")
    )
    assert [pair.name for pair in found.test["div2k_valid"]] == [
        f"{number:04d}.png" for number in range(801, 811)
    ]


def test_at_another_scale_low_resolution_images_are_made_of_what_is_left_after_the_cut(
    tmp_path: Path,
) -> None:
    found = load_data_set(make_div2k(tmp_path), super_resolution_folder(3))
    low, high = found.train[0].images
    whole = read_photograph(tmp_path / "DIV2K_train_HR/0001.png")
    assert high.shape == (3, 39, 48) and torch.equal(high, whole[:, :39, :48])
    assert torch.equal(low, downscale_photograph(whole[:, :39, :48], 3))


def test_test_sets_are_found_in_every_place_that_people_use(tmp_path: Path) -> None:
    found = load_data_set(add_benchmark(make_div2k(tmp_path)), X2)
    assert list(found.test) == ["div2k_valid", "set5", "set14", "urban100"]
    assert torch.equal(
        (found.test["set5"][0].degraded * 255).byte(),
        read_photograph(tmp_path / "benchmark/Set5/LR_bicubic/X2/babyx2.png"),
    )
    assert {
        pairs[0].clean.shape for name, pairs in found.test.items() if name != "div2k_valid"
    } == {(3, 40, 48)}


def test_photographs_of_ones_own_are_enough(tmp_path: Path) -> None:
    write_noise(tmp_path / "train_hr/a.png", size=(48, 40))
    write_noise(tmp_path / "val_hr/b.png", size=(48, 40))
    found = load_data_set(tmp_path, X2)
    assert (len(found.train), list(found.test)) == (1, ["val_hr"])


def test_what_edsrs_archive_has_beyond_0800_is_tested_on_and_never_trained_on(
    tmp_path: Path,
) -> None:
    for number in (1, 800, 801, 802):
        write_noise(tmp_path / "DIV2K_train_HR" / f"{number:04d}.png", seed=number, size=(48, 40))
    found = load_data_set(tmp_path, X2)
    assert [photograph.name for photograph in found.train] == ["0001.png", "0800.png"]
    assert [pair.name for pair in found.test["div2k_valid"]] == ["0801.png", "0802.png"]


def test_low_resolution_images_may_have_another_ending(tmp_path: Path) -> None:
    (make_div2k(tmp_path) / "DIV2K_train_LR_bicubic/X2/0002x2.png").unlink()
    write_noise(tmp_path / "DIV2K_train_LR_bicubic/X2/0002x2.bmp", seed=50)
    found = load_data_set(tmp_path, X2)
    assert torch.equal(
        found.train[1].images[0], read_photograph(tmp_path / "DIV2K_train_LR_bicubic/X2/0002x2.bmp")
    )


FAULTS: Faults = {
    "half a pair": (
        lambda root: (root / "DIV2K_train_LR_bicubic/X2/0002x2.png").unlink(),
        r"1 of the photographs have no partner of the right name: DIV2K_train_HR/0002\.png",
    ),
    "other size": (
        lambda root: write_noise(root / "DIV2K_train_LR_bicubic/X2/0002x2.png", size=(24, 19)),
        r"0002\.png differ in size \(X2 24 x 19 and DIV2K_train_HR 48 x 40 pixels, at a scale of 2",
    ),
    "two with one partner": (
        lambda root: write_noise(root / "DIV2K_train_HR/0001.bmp", size=(48, 40)),
        r"DIV2K_train_HR: 4 photographs share 3 partners in .*X2; give each a name of its own",
    ),
    "floating point": (
        lambda root: write_float_image(root / "DIV2K_train_HR/0001.png"),
        r"0001\.png holds floating-point values",
    ),
    "cut short": (
        lambda root: truncate(root / "DIV2K_train_HR/0001.png"),
        r"DIV2K_train_HR/0001\.png cannot be read as an image",
    ),
    "empty": (lambda root: empty_folder(root / "DIV2K_train_HR"), r"DIV2K_train_HR is empty"),
    "no training": (
        lambda root: shutil.rmtree(root / "DIV2K_train_HR"),
        r"has nothing to train on; the layout must be DIV2K_train_HR",
    ),
    "no test": (
        lambda root: shutil.rmtree(root / "DIV2K_valid_HR"),
        r"has nothing to test on; the layout must be",
    ),
    "tiny": (
        lambda root: write_noise(root / "val_hr/a.png", size=(10, 40)),
        r"a\.png has 10 x 40 pixels, below 15 x 15",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    check_refusal(make_div2k(tmp_path), X2, *FAULTS[fault])

"""SIDD-Medium in its official layout, with its validation blocks."""

import shutil
from pathlib import Path

import numpy
import pytest
import torch
from scipy.io import savemat

from tasks.data.decoded_cache import load_data_set
from tasks.data.sidd import BLOCKS, SIDD
from tests.tasks.data.trees import (
    Faults,
    check_refusal,
    empty_folder,
    truncate,
    write_float_image,
    write_noise,
)

SCENES = ("0001_001_S6_00100_00060_3200_L", "0002_001_S6_00100_00020_3200_N")
SIZE = (2, 3, 16, 16, 3)


def save_blocks(
    root: Path, name: str, size: tuple[int, ...] = SIZE, kind: type = numpy.uint8
) -> numpy.ndarray:
    array = numpy.random.default_rng(len(name)).integers(0, 256, size).astype(kind)
    savemat(root / f"{name}.mat", {name: array})
    return array


def make_sidd(root: Path) -> Path:
    for scene in SCENES:
        for side in ("NOISY", "GT"):
            for shot in ("010", "011"):
                write_noise(
                    root / "SIDD_Medium_Srgb/Data" / scene / f"{scene[:4]}_{side}_SRGB_{shot}.PNG",
                    seed=int(shot) + len(side),
                )
    for name in BLOCKS:
        save_blocks(root, name)
    return root


def scenes_folder(root: Path) -> Path:
    return root / "SIDD_Medium_Srgb/Data"


def test_both_shots_of_every_scene_are_trained_on(tmp_path: Path) -> None:
    found = load_data_set(make_sidd(tmp_path), SIDD)
    names = [
        f"{scene}/{scene[:4]}_NOISY_SRGB_{shot}.PNG" for scene in SCENES for shot in ("010", "011")
    ]
    assert [photograph.name for photograph in found.train] == names
    assert not torch.equal(*found.train[0].images)


def test_every_validation_block_is_a_test_photograph(tmp_path: Path) -> None:
    found = load_data_set(make_sidd(tmp_path), SIDD).test["sidd_validation"]
    assert [pair.name for pair in found] == [
        f"{scene:02d}/{block:02d}" for scene in range(2) for block in range(3)
    ]
    noisy, clean = (save_blocks(tmp_path, name)[1, 2] for name in BLOCKS)
    assert torch.equal(
        (found[5].degraded * 255).round().byte().permute(1, 2, 0), torch.from_numpy(noisy)
    )
    assert torch.equal(
        (found[5].clean * 255).round().byte().permute(1, 2, 0), torch.from_numpy(clean)
    )


def test_the_folder_of_the_archive_may_be_given_itself(tmp_path: Path) -> None:
    assert len(load_data_set(make_sidd(tmp_path) / "SIDD_Medium_Srgb", SIDD).train) == 4


def test_both_shots_of_a_scene_go_to_one_side_when_some_are_kept_back(tmp_path: Path) -> None:
    for number in range(3, 17):
        for side in ("NOISY", "GT"):
            for shot in ("010", "011"):
                write_noise(
                    scenes_folder(make_sidd(tmp_path))
                    / f"{number:04d}_001_S6"
                    / f"{number:04d}_{side}_SRGB_{shot}.PNG",
                    seed=number,
                )
    found = load_data_set(tmp_path, SIDD)
    held_out, trained = (
        {photograph.name.split("/")[0] for photograph in photographs}
        for photographs in (found.calibration, found.train)
    )
    assert (len(found.calibration), len(held_out), len(held_out & trained)) == (8, 4, 0)


FAULTS: Faults = {
    "half a pair": (
        lambda root: (scenes_folder(root) / SCENES[0] / "0001_GT_SRGB_011.PNG").unlink(),
        r"0001_001.*no partner for 0001_NOISY_SRGB_011\.PNG",
    ),
    "raw images": (
        lambda root: [
            path.rename(path.with_name(path.name.replace("SRGB", "RAW")))
            for path in (scenes_folder(root) / SCENES[1]).iterdir()
        ],
        r"0002_001.*no \*NOISY_SRGB\* image",
    ),
    "other size": (
        lambda root: write_noise(
            scenes_folder(root) / SCENES[0] / "0001_GT_SRGB_010.PNG", size=(30, 20)
        ),
        r"differ in size \(.* 24 x 20 and .* 30 x 20",
    ),
    "floating point": (
        lambda root: write_float_image(scenes_folder(root) / SCENES[0] / "0001_GT_SRGB_010.PNG"),
        r"GT_SRGB_010\.PNG holds floating-point values",
    ),
    "cut short": (
        lambda root: truncate(scenes_folder(root) / SCENES[0] / "0001_GT_SRGB_010.PNG"),
        r"0001_GT_SRGB_010\.PNG cannot be read as an image",
    ),
    "no scenes": (lambda root: empty_folder(scenes_folder(root)), r"Data has no folders of scenes"),
    "blocks only": (
        lambda root: shutil.rmtree(root / "SIDD_Medium_Srgb"),
        r"SIDD_Medium_Srgb/Data is missing, the training half",
    ),
    "no blocks": (
        lambda root: (root / f"{BLOCKS[1]}.mat").unlink(),
        r"has no ValidationGtBlocksSrgb\.mat",
    ),
    "other blocks": (
        lambda root: save_blocks(root, BLOCKS[0], (2, 2, 16, 16, 3)),
        r"blocks of SIDD differ in size: .*\(2, 2, 16, 16, 3\)",
    ),
    "wrong depth": (
        lambda root: save_blocks(root, BLOCKS[0], kind=numpy.float64),
        r"NoisyBlocksSrgb\.mat holds .*double.* of uint8",
    ),
    "half a .mat": (
        lambda root: truncate(root / f"{BLOCKS[1]}.mat"),
        r"GtBlocksSrgb\.mat cannot be read as a \.mat file",
    ),
    "version 7.3": (
        lambda root: (root / f"{BLOCKS[0]}.mat").write_bytes(
            b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n"
        ),
        r"NoisyBlocksSrgb\.mat is a \.mat file of version 7\.3 \(HDF5\)",
    ),
    "objects": (
        lambda root: savemat(
            root / f"{BLOCKS[0]}.mat", {BLOCKS[0]: numpy.zeros((1, 2, 3, 3, 3), dtype=object)}
        ),
        r"NoisyBlocksSrgb\.mat holds .*cell.* of uint8",
    ),
    "no .mat": (
        lambda root: (root / f"{BLOCKS[0]}.mat").write_text("text"),
        r"NoisyBlocksSrgb\.mat cannot be read as a \.mat file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    check_refusal(make_sidd(tmp_path), SIDD, *FAULTS[fault])

"""Folders of clean photographs, which a task degrades itself: published sets, and your own.

    DATA/train, DATA/test                                     your own, test alone if you like
    DATA                                                      your own: one in eight is tested on
    DATA/[DIV2K/]DIV2K_train_HR, DIV2K_valid_HR               DIV2K, see `tasks.data.div2k`
    DATA/[BSDS500/]images/train, images/val, images/test      BSDS500
    DATA/CBSD68, Kodak24, McMaster, Urban100, Set5, Set14, B100
                                  test sets, beside the others or alone; also in DATA/benchmark, and
                                  with the photographs in a folder HR; DATA may be one of them

Photographs are named without the suffix of their files, as the embedded ones are: the noise of a
test photograph depends on its name. All that are found are used together. Where there is nothing to
train on, the embedded images are trained on. Of BSDS500, train and test (400 photographs) are
trained on and val is tested on, as usual in denoising: CBSD68 is a part of val.
"""

import os
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.errors import ConfigError
from tasks.data.dataset import DataSet, Images, PhotoPair, Splits, check_size, list_files
from tasks.data.div2k import HOME, LAST_OF_TRAIN, VALID, VALID_PHOTOGRAPHS, list_folders
from tasks.data.photographs import read_photograph

LAYOUT = (
    "photographs, or train and test with photographs, or DIV2K_train_HR, or images/train of "
    "BSDS500, or test sets: CBSD68, Kodak24, McMaster, Urban100, Set5, Set14, B100"
)
SOURCE = "published ones are for research: see `prunebench data get`"
# Folder in lower case -> test set.
TEST_SETS: Mapping[str, str] = {
    "cbsd68": "cbsd68",
    "kodak24": "kodak24",
    "kodak": "kodak24",
    "mcmaster": "mcmaster",
    "mcm": "mcmaster",
    "urban100": "urban100",
    "set5": "set5",
    "set14": "set14",
    "b100": "b100",
}
DIV2K_TRAIN = "DIV2K_train_HR"
BSDS500 = ("images", "BSDS500/images", "BSDS500/data/images", "BSR/BSDS500/data/images")
SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".jp2"),
}
TEST_ONE_IN = 8  # of a folder that is not split


def clean_folder(scale: int = 1) -> DataSet:
    """Return the layout of clean photographs, which a task with a scale makes smaller."""
    return DataSet(
        name="clean photographs",
        layout=LAYOUT,
        source=SOURCE,
        markers=(),
        find_splits=partial(_find_splits, scale),
        variant=f"x{scale}" if scale > 1 else "",
        recognise=_recognise,
        clean=True,
        may_lack_training=True,
    )


def _recognise(root: Path) -> bool:
    """Return whether a folder, which may be any folder of the machine, has photographs."""
    return os.access(root, os.R_OK) and (_holds_photographs(root) or any(_find_folders(root)))


def _find_splits(scale: int, root: Path) -> Splits:
    train_folders, test_folders = _find_folders(root)
    if not train_folders and not test_folders:
        return _split(_list_photographs(root, scale), root)
    if not test_folders:
        raise ConfigError(f"{root} has nothing to test on; the layout must be {LAYOUT}")
    train = tuple(pair for folder in train_folders for pair in _list_photographs(folder, scale))
    _check_names(train)
    test = {name: _list_photographs(path, scale) for name, path in test_folders.items()}
    return Splits(train, test)


def _find_folders(root: Path) -> tuple[list[Path], dict[str, Path]]:
    """Return the folders to train on, and test set -> folder, of those whose names are known."""
    train: list[Path] = []
    test: dict[str, Path] = {}
    if _holds_photographs(root / "train") or _holds_photographs(root / "test"):
        train += [root / "train"]
        test |= {"test": root / "test"}
    div2k = root / HOME if (root / HOME).is_dir() else root
    train += [div2k / DIV2K_TRAIN]
    test |= {"div2k_valid": div2k / VALID}
    for images in (root / name for name in BSDS500):
        if (images / "train").is_dir():
            train += [images / "train", images / "test"]
            test |= {"bsds500_val": images / "val"}
    found = {name: folder for name, folder in test.items() if folder.is_dir()}
    return [folder for folder in train if folder.is_dir()], found | _find_test_sets(root)


def _find_test_sets(root: Path) -> dict[str, Path]:
    """Return test set -> folder, of the published ones in a folder; it may be one of them."""
    folders = list_folders(root)
    if "benchmark" in folders:
        folders |= list_folders(folders["benchmark"])
    folders[root.name.lower()] = root
    sets = {
        test_set: list_folders(folders[name]).get("hr", folders[name])
        for name, test_set in TEST_SETS.items()
        if name in folders
    }
    return {name: folder for name, folder in sets.items() if _holds_photographs(folder)}


def _split(photographs: Sequence[PhotoPair], root: Path) -> Splits:
    """Split the photographs of one folder: one in eight, drawn once and for all, is tested on."""
    if len(photographs) < 2:
        raise ConfigError(
            f"{root} has 1 photograph, and two are needed, to train on and to test on; add some"
        )
    count = max(1, round(len(photographs) / TEST_ONE_IN))
    test = set(random.Random(0).sample(range(len(photographs)), count))
    sides = [
        tuple(pair for index, pair in enumerate(photographs) if (index in test) == is_test)
        for is_test in (False, True)
    ]
    return Splits(sides[0], {"test": sides[1]})


def _holds_photographs(folder: Path) -> bool:
    """Return whether a folder has files with the suffix of a photograph directly in it."""
    return folder.is_dir() and any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())


def _list_photographs(folder: Path, scale: int) -> tuple[PhotoPair, ...]:
    photographs = tuple(
        PhotoPair(file.stem, (file,), partial(_read, file, scale))
        for file in list_files(folder, LAYOUT).values()
    )
    _check_names(photographs)
    if folder.name == DIV2K_TRAIN:  # EDSR's archive has those of the validation set in it
        return tuple(pair for pair in photographs if pair.name <= LAST_OF_TRAIN)
    return photographs[:VALID_PHOTOGRAPHS] if folder.name == VALID else photographs


def _read(file: Path, scale: int) -> Images:
    clean = read_photograph(file)
    check_size(clean, file, scale)
    return (clean,)


def _check_names(photographs: Sequence[PhotoPair]) -> None:
    """Raise ConfigError if two photographs, of one folder or several, have the same name."""
    first: dict[str, Path] = {}
    for name, (file,), _ in photographs:
        if name in first:
            raise ConfigError(f"{first[name]} and {file} have the same name; rename one of them")
        first[name] = file

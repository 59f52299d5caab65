"""Super-resolution: DIV2K or your own high-resolution photographs, and the usual test sets.

DIV2K: Agustsson and Timofte, CVPR workshops 2017. Files in brackets are optional.

    training   DATA/DIV2K_train_HR/0001.png ... 0800.png
               [DATA/DIV2K_train_LR_bicubic/X2/0001x2.png ...]
         or    DATA/train_hr/*, your own photographs
    test sets  DATA/DIV2K_valid_HR/0801.png ..., of which the first ten are used, as in EDSR
               [DATA/DIV2K_valid_LR_bicubic/X2/0801x2.png ...]
         or    DATA/Set5, Set14, B100, Urban100, or DATA/benchmark/Set5 and so on
         or    DATA/val_hr, your own photographs

The folders of DIV2K may lie in DATA/DIV2K. In EDSR's archive all 900 photographs are in
DIV2K_train_HR; those beyond 0800 are never used for training, and serve as div2k_valid if
DIV2K_valid_HR is missing.

A test set holds photographs, or a folder HR (or hr) of photographs and optionally low-resolution
ones in LR_bicubic/X2 (as in EDSR's benchmark) or lr_x2, named NAMEx2.png or NAME.png. Missing
low-resolution photographs are made by bicubic scaling, after the photograph is cropped at the
bottom and the right to a multiple of the scale. A folder with nothing to train on is read as
`tasks.data.clean` reads it: all photographs are made smaller, and the embedded ones trained on.
"""

from functools import partial
from pathlib import Path

from bench.errors import ConfigError
from tasks.data.dataset import (
    DataSet,
    Images,
    PhotoPair,
    Splits,
    check_size,
    crop_to_multiple,
    list_files,
    list_pairs,
    match_sizes,
)
from tasks.data.photographs import read_photograph
from tasks.data.scaling import downscale_photograph

LAYOUT = (
    "DIV2K_train_HR (or train_hr), and at least one test set: DIV2K_valid_HR, Set5, Set14, B100, "
    "Urban100 or val_hr, each with photographs, or with hr and lr_xSCALE"
)
SOURCE = (
    "DIV2K from ETH Zurich's DIV2K page, for research; Set5, Set14, B100 (the test half of "
    "BSDS300) and Urban100 come in the benchmark archive of EDSR, for research"
)
TRAIN = ("DIV2K_train_HR", "train_hr")
TESTS = ("set5", "set14", "b100", "urban100", "val_hr")
VALID = "DIV2K_valid_HR"
HOME = "DIV2K"  # may hold those of DIV2K
VALID_PHOTOGRAPHS = 10
LAST_OF_TRAIN = "0800"


def super_resolution_folder(scale: int) -> DataSet:
    """Return the layout, read at a scale."""
    return DataSet(
        name="DIV2K and test sets",
        layout=LAYOUT,
        source=SOURCE,
        markers=(*TRAIN, *(f"{HOME}/{name}" for name in TRAIN)),
        find_splits=partial(_find_splits, scale),
        variant=f"x{scale}",
    )


def _find_splits(scale: int, root: Path) -> Splits:
    home = root / HOME if (root / HOME).is_dir() else root
    folder = next((home / name for name in TRAIN if (home / name).is_dir()), None)
    if folder is None:
        raise ConfigError(f"{root} has nothing to train on; the layout must be {LAYOUT}")
    train = _list_photos(folder, _find_low_resolution(folder, scale), scale)
    surplus = tuple(
        pair for pair in train if folder.name == TRAIN[0] and Path(pair.name).stem > LAST_OF_TRAIN
    )
    test = {"div2k_valid": surplus[:VALID_PHOTOGRAPHS]} if surplus else {}
    test |= _find_valid(home, scale) | _find_test_sets(root, scale)
    if not test:
        raise ConfigError(f"{root} has nothing to test on; the layout must be {LAYOUT}")
    return Splits(tuple(pair for pair in train if pair not in surplus), test)


def _find_valid(home: Path, scale: int) -> dict[str, tuple[PhotoPair, ...]]:
    """Return the test set of DIV2K's own validation photographs, if they are there."""
    if not (home / VALID).is_dir():
        return {}
    pairs = _list_photos(home / VALID, _find_low_resolution(home / VALID, scale), scale)
    return {"div2k_valid": pairs[:VALID_PHOTOGRAPHS]}


def _find_test_sets(root: Path, scale: int) -> dict[str, tuple[PhotoPair, ...]]:
    """Return test set -> its pairs, for the test sets in the root and in root/benchmark."""
    test = {}
    folders = list_folders(root)
    if (root / "benchmark").is_dir():
        folders |= list_folders(root / "benchmark")
    for name in TESTS:
        if name in folders:
            inner = list_folders(folders[name])
            high = inner.get("hr", folders[name])
            bicubic = list_folders(inner["lr_bicubic"]) if "lr_bicubic" in inner else {}
            low = inner.get(f"lr_x{scale}") or bicubic.get(f"x{scale}")
            test[name] = _list_photos(high, low, scale)
    return test


def list_folders(root: Path) -> dict[str, Path]:
    """Return name in lower case -> folder."""
    return {entry.name.lower(): entry for entry in sorted(root.iterdir()) if entry.is_dir()}


def _find_low_resolution(high: Path, scale: int) -> Path | None:
    """Return DIV2K_train_LR_bicubic/X2 for DIV2K_train_HR; None if it does not exist."""
    low = high.with_name(high.name.replace("_HR", "_LR_bicubic")) / f"X{scale}"
    return low if low != high / f"X{scale}" and low.is_dir() else None


def _list_photos(high: Path, low: Path | None, scale: int) -> tuple[PhotoPair, ...]:
    """Pair photographs with low-resolution ones, which are made by scaling if `low` is None."""
    if low is None:
        return tuple(
            PhotoPair(name, (file,), partial(_downscale_file, file, scale))
            for name, file in list_files(high, LAYOUT).items()
        )
    names = {Path(name).stem: name for name in list_files(low, LAYOUT)}

    def partner(name: str) -> str:
        stem = Path(name).stem
        return (
            names.get(f"{stem}x{scale}") or names.get(stem) or f"{stem}x{scale}{Path(name).suffix}"
        )

    return list_pairs(low, high, LAYOUT, scale, partner)


def _downscale_file(file: Path, scale: int) -> Images:
    clean = crop_to_multiple(read_photograph(file), scale)
    check_size(clean, file, scale)
    return match_sizes(downscale_photograph(clean, scale), clean, file, file, scale)

"""Super-resolution: DIV2K (Agustsson and Timofte, CVPR workshops 2017), any folder of high-resolution photographs, and the usual test sets.

    training   DATA/DIV2K_train_HR/0001.png ... 0800.png   [DATA/DIV2K_train_LR_bicubic/X2/0001x2.png ...]
         or    DATA/train_hr/*                              photographs of your own
    test sets  DATA/DIV2K_valid_HR/0801.png ...            [DATA/DIV2K_valid_LR_bicubic/X2/0801x2.png ...]   the first ten, as in EDSR
               DATA/Set5, Set14, B100, Urban100            or DATA/benchmark/Set5 and so on; or DATA/val_hr, photographs of your own

In EDSR's archive all 900 photographs lie in DIV2K_train_HR; those beyond 0800 are never trained on,
and are div2k_valid if that is missing.

A test set holds photographs, or a folder HR (or hr) of them, beside which low-resolution ones may
lie in LR_bicubic/X2 (as in EDSR's benchmark) or lr_x2: NAMEx2.png or NAME.png. Where there are
none, they are made by bicubic scaling, of the photograph cut to a multiple of the scale at the
bottom and the right.
"""

from functools import partial
from pathlib import Path

from bench.errors import ConfigError
from tasks.data.library import (
    DataSet,
    Images,
    Library,
    Photo,
    check_size,
    cut_to_multiple,
    files_in,
    matching,
    pairs_in,
)
from tasks.data.photographs import read_photograph
from tasks.data.scaling import shrunk_photograph

LAYOUT = (
    "DIV2K_train_HR (or train_hr), and at least one test set: DIV2K_valid_HR, Set5, Set14, B100, Urban100 or val_hr, "
    "each with photographs, or with hr and lr_xSCALE"
)
SOURCE = (
    "DIV2K from ETH Zurich's DIV2K page, for research; Set5, Set14, B100 (the test half of BSDS300) and Urban100 come in the benchmark "
    "archive of EDSR, for research"
)
TRAIN = ("DIV2K_train_HR", "train_hr")
TESTS = ("set5", "set14", "b100", "urban100", "val_hr")
VALID = "DIV2K_valid_HR"
VALID_PHOTOGRAPHS = 10
LAST_OF_TRAIN = "0800"


def super_resolution_folder(scale: int) -> DataSet:
    """The layout, read at a scale."""
    marks = (*TRAIN, VALID, *TESTS, "Set5", "Set14", "B100", "Urban100", "benchmark")
    return DataSet("DIV2K and test sets", LAYOUT, SOURCE, marks, partial(_open, scale), f"x{scale}")


def _open(scale: int, root: Path) -> Library:
    folder = next((root / name for name in TRAIN if (root / name).is_dir()), None)
    if folder is None:
        raise ConfigError(f"{root} has nothing to train on; needed is {LAYOUT}")
    train = _photos(folder, _low_beside(folder, scale), scale)
    beyond = tuple(
        photo
        for photo in train
        if folder.name == TRAIN[0] and Path(photo.name).stem > LAST_OF_TRAIN
    )
    tests = ({"div2k_valid": beyond[:VALID_PHOTOGRAPHS]} if beyond else {}) | _tests(root, scale)
    if not tests:
        raise ConfigError(f"{root} has nothing to test on; needed is {LAYOUT}")
    return Library(tuple(photo for photo in train if photo not in beyond), tests)


def _tests(root: Path, scale: int) -> dict[str, tuple[Photo, ...]]:
    """Test set -> its photographs."""
    tests = {}
    if (root / VALID).is_dir():
        tests["div2k_valid"] = _photos(root / VALID, _low_beside(root / VALID, scale), scale)[
            :VALID_PHOTOGRAPHS
        ]
    found = _folders(root) | (_folders(root / "benchmark") if (root / "benchmark").is_dir() else {})
    for name in TESTS:
        if name in found:
            inner = _folders(found[name])
            high = inner.get("hr", found[name])
            bicubic = _folders(inner["lr_bicubic"]) if "lr_bicubic" in inner else {}
            tests[name] = _photos(
                high, inner.get(f"lr_x{scale}") or bicubic.get(f"x{scale}"), scale
            )
    return tests


def _folders(root: Path) -> dict[str, Path]:
    """Name in small letters -> folder."""
    return {entry.name.lower(): entry for entry in sorted(root.iterdir()) if entry.is_dir()}


def _low_beside(high: Path, scale: int) -> Path | None:
    """DIV2K_train_LR_bicubic/X2 of DIV2K_train_HR, where it is there."""
    low = high.with_name(high.name.replace("_HR", "_LR_bicubic")) / f"X{scale}"
    return low if low != high / f"X{scale}" and low.is_dir() else None


def _photos(high: Path, low: Path | None, scale: int) -> tuple[Photo, ...]:
    """The photographs of a folder with their low-resolution twins, given or made."""
    if low is None:
        return tuple(
            Photo(name, (file,), partial(_made, file, scale))
            for name, file in files_in(high, LAYOUT).items()
        )
    names = {Path(name).stem: name for name in files_in(low, LAYOUT)}

    def partner(name: str) -> str:
        stem = Path(name).stem
        return (
            names.get(f"{stem}x{scale}") or names.get(stem) or f"{stem}x{scale}{Path(name).suffix}"
        )

    return pairs_in(low, high, LAYOUT, scale, partner)


def _made(file: Path, scale: int) -> Images:
    clean = cut_to_multiple(read_photograph(file), scale)
    check_size(clean, file, scale)
    return matching(shrunk_photograph(clean, scale), clean, file, file, scale)

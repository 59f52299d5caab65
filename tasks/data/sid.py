"""SID, the Sony part: Chen, Chen, Xu and Koltun, "Learning to See in the Dark", CVPR 2018.

Raw files of a camera.

    DATA/Sony_train_list.txt, DATA/Sony_test_list.txt     lines "./Sony/short/00001_00_0.04s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8"
    DATA/Sony/short/*.ARW, DATA/Sony/long/*.ARW

Both exposures are developed by rawpy (the extra `raw`: pip install prunebench[raw]) to sRGB of half
the size, one value of each colour from four photosites, with the camera's white balance and 8 bit;
the short one is amplified by the ratio of the exposures, at most 300. So the backbones are those of
all tasks. The paper works on the raw values themselves: figures are not comparable with its own.
The three test scenes with a shift between the exposures (10034, 10045, 10172) are left out. The
validation list is not used.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import ConfigError
from bench.files.checked_json import content_of
from tasks.data.library import DataSet, Images, Library, Photo, few, matching
from tasks.data.photographs import check_pixels

LAYOUT = "Sony_train_list.txt, Sony_test_list.txt, Sony/short/*.ARW and Sony/long/*.ARW"
SOURCE = "from the project page of Learning to See in the Dark (Sony.zip, 25 GB); the code is MIT, for the photographs no licence is stated"
LISTS = ("Sony_train_list.txt", "Sony_test_list.txt")
SHIFTED = ("10034", "10045", "10172")
MOST_AMPLIFIED = 300.0
MOST_BYTES = 2**24  # of a list


def _open(root: Path) -> Library:
    train, test = (_photos(root, name) for name in LISTS)
    return Library(
        train, {"sid_sony": tuple(photo for photo in test if not photo.name.startswith(SHIFTED))}
    )


def _photos(root: Path, name: str) -> tuple[Photo, ...]:
    """The pairs of a list. Raises ConfigError if it, or a file that it names, is missing."""
    if not (root / name).is_file():
        raise ConfigError(f"{root / name} is missing; needed is {LAYOUT}")
    try:
        text = content_of(root / name, MOST_BYTES).decode(errors="replace")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{root / name} cannot be read: {error}; get it again") from error
    lines = [line.split() for line in dict.fromkeys(text.splitlines()) if line.strip()]
    if wrong := [" ".join(line) for line in lines if len(line) < 2]:
        raise ConfigError(
            f"{root / name} has the line '{wrong[0]}'; needed are a short and a long exposure in each line"
        )
    if outside := [
        path
        for line in lines
        for path in line[:2]
        if os.path.isabs(path) or os.path.normpath(path).startswith("..")
    ]:
        raise ConfigError(
            f"{root / name} names {few(outside)}, which is outside of {root}; get it again"
        )
    pairs = [(root / line[0], root / line[1]) for line in lines]
    if missing := [
        os.path.relpath(file, root) for each in pairs for file in each if not file.is_file()
    ]:
        raise ConfigError(
            f"{root}: {len(missing)} files of {name} are missing: {few(missing)}; needed is {LAYOUT}"
        )
    return tuple(_photo(short, long) for short, long in pairs)


def _photo(short: Path, long: Path) -> Photo:
    def read() -> Images:
        amplified = min(_seconds(long) / _seconds(short), MOST_AMPLIFIED)
        return matching(_developed(short, amplified), _developed(long, 1.0), short, long)

    return Photo(short.stem, (short, long), read, scene=long.stem)


def _seconds(file: Path) -> float:
    """Exposure in the name of a file, such as 00001_00_0.04s.ARW."""
    text = file.stem.rpartition("_")[2].removesuffix("s")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1e-6 <= seconds <= 1e6:
        raise ConfigError(f"{file} does not end in its exposure, such as _0.04s.ARW; get it again")
    return seconds


@lru_cache(maxsize=2)  # the shorts of one long follow each other
def _developed(file: Path, brighter: float) -> Tensor:
    """(3, H / 2, W / 2) of uint8.

    Raises ConfigError if rawpy is not there or cannot read the file.
    """
    rawpy = _rawpy()
    try:
        with rawpy.imread(str(file)) as raw:
            check_pixels(raw.sizes.raw_width, raw.sizes.raw_height, file)
            pixels = raw.postprocess(
                use_camera_wb=True,
                half_size=True,
                no_auto_bright=True,
                output_bps=8,
                bright=brighter,
            )
    except ConfigError:
        raise
    except Exception as error:  # libraw's errors, and those of the file system
        raise ConfigError(
            f"{file} cannot be developed ({type(error).__name__}: {error}); get it again"
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _rawpy() -> Any:
    try:
        import rawpy
    except ImportError as error:
        raise ConfigError(
            "SID-Sony holds raw files, which need rawpy: pip install 'prunebench[raw]'"
        ) from error
    return rawpy


SID = DataSet("SID-Sony", LAYOUT, SOURCE, (*LISTS, "Sony/short", "Sony/long"), _open)

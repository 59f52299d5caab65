"""SID, the Sony part: Chen, Chen, Xu and Koltun, "Learning to See in the Dark", CVPR 2018.

Raw files of a camera.

    DATA/Sony_train_list.txt, DATA/Sony_test_list.txt
    DATA/Sony/short/*.ARW, DATA/Sony/long/*.ARW

A line of a list reads "./Sony/short/00001_00_0.04s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8";
the scene is 00001, and the pair is named 00001/00001_00_0.04s.

Both exposures are developed by rawpy (the extra `raw`: pip install prunebench[raw]) to sRGB of half
the size (one value of each colour from four photosites), with the camera's white balance and 8 bit;
the short one is amplified by the ratio of the exposures, at most 300. Therefore the backbones are
the same as for all tasks. The paper works on the raw values: its scores are not comparable with
ours. The three test scenes with a shift between the exposures (10034, 10045, 10172) are left out.
The validation list is not used. This is the only adapter to rawpy.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import ConfigError
from bench.files.checked_json import read_limited
from tasks.data.dataset import DataSet, Images, PhotoPair, Splits, format_names, match_sizes
from tasks.data.photographs import check_pixels

LAYOUT = "Sony_train_list.txt, Sony_test_list.txt, Sony/short/*.ARW and Sony/long/*.ARW"
SOURCE = (
    "from the project page of Learning to See in the Dark (Sony.zip, 25 GB); "
    "the code is MIT, for the photographs no licence is stated"
)
LISTS = ("Sony_train_list.txt", "Sony_test_list.txt")
SHIFTED_SCENES = ("10034", "10045", "10172")
MAX_AMPLIFICATION = 300.0
MAX_LIST_BYTES = 2**24


def _find_splits(root: Path) -> Splits:
    train, test = (_list_pairs(root, name) for name in LISTS)
    aligned = tuple(pair for pair in test if not pair.name.startswith(SHIFTED_SCENES))
    return Splits(train, {"sid_sony": aligned})


def _list_pairs(root: Path, name: str) -> tuple[PhotoPair, ...]:
    """List the pairs of a list file.

    Raises:
        ConfigError: the list, or a file that it names, is missing.
    """
    if not (root / name).is_file():
        raise ConfigError(f"{root / name} is missing; the layout must be {LAYOUT}")
    try:
        text = read_limited(root / name, MAX_LIST_BYTES).decode(errors="replace")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{root / name} cannot be read: {error}; get it again") from error
    lines = [line.split() for line in dict.fromkeys(text.splitlines()) if line.strip()]
    if wrong := [" ".join(line) for line in lines if len(line) < 2]:
        raise ConfigError(
            f"{root / name} has the line '{wrong[0]}'; "
            "each line must name a short and a long exposure"
        )
    if outside := [
        path
        for line in lines
        for path in line[:2]
        if os.path.isabs(path) or os.path.normpath(path).startswith("..")
    ]:
        raise ConfigError(
            f"{root / name} names {format_names(outside)}, which is outside of {root}; get it again"
        )
    pairs = [(root / line[0], root / line[1]) for line in lines]
    if missing := [
        os.path.relpath(file, root) for pair in pairs for file in pair if not file.is_file()
    ]:
        raise ConfigError(
            f"{root}: {len(missing)} files of {name} are missing: {format_names(missing)}; "
            f"the layout must be {LAYOUT}"
        )
    return tuple(_make_pair(short, long) for short, long in pairs)


def _make_pair(short: Path, long: Path) -> PhotoPair:
    def read() -> Images:
        ratio = min(_exposure_seconds(long) / _exposure_seconds(short), MAX_AMPLIFICATION)
        return match_sizes(_develop(short, ratio), _develop(long, 1.0), short, long)

    scene = long.stem.partition("_")[0]
    return PhotoPair(f"{scene}/{short.stem}", (short, long), read)


def _exposure_seconds(file: Path) -> float:
    """Return the exposure time in the name of a file, such as 00001_00_0.04s.ARW."""
    text = file.stem.rpartition("_")[2].removesuffix("s")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1e-6 <= seconds <= 1e6:
        raise ConfigError(f"{file} does not end in its exposure, such as _0.04s.ARW; get it again")
    return seconds


@lru_cache(maxsize=2)  # consecutive pairs share their long exposure
def _develop(file: Path, amplification: float) -> Tensor:
    """Develop a raw file to (3, H / 2, W / 2), uint8.

    Raises:
        ConfigError: rawpy is not installed or cannot read the file.
    """
    rawpy = _import_rawpy()
    try:
        with rawpy.imread(str(file)) as raw:
            check_pixels(raw.sizes.raw_width, raw.sizes.raw_height, file)
            pixels = raw.postprocess(
                use_camera_wb=True,
                half_size=True,
                no_auto_bright=True,
                output_bps=8,
                bright=amplification,
            )
    except ConfigError:
        raise
    except Exception as error:  # libraw's errors, and those of the file system
        raise ConfigError(
            f"{file} cannot be developed ({type(error).__name__}: {error}); get it again"
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _import_rawpy() -> Any:
    try:
        import rawpy
    except ImportError as error:
        raise ConfigError(
            "SID-Sony holds raw files, which need rawpy: pip install 'prunebench[raw]'"
        ) from error
    return rawpy


SID = DataSet("SID-Sony", LAYOUT, SOURCE, (*LISTS, "Sony/short", "Sony/long"), _find_splits)

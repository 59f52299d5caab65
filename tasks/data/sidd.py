"""SIDD-Medium, sRGB images.

Abdelhamed, Lin and Brown, "A High-Quality Denoising Dataset for Smartphone Cameras", CVPR 2018.

    DATA/SIDD_Medium_Srgb/Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_SRGB_010.PNG,
                                                              0001_GT_SRGB_010.PNG, ...
    DATA/ValidationNoisyBlocksSrgb.mat, DATA/ValidationGtBlocksSrgb.mat

Training uses 320 pairs of 160 scene instances, testing 40 x 32 blocks of 256 x 256 pixels: 32 of
each of 40 other instances, named SCENE/BLOCK. DATA may be SIDD_Medium_Srgb itself. This is an
adapter to scipy (.mat files).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import ConfigError
from tasks.data.dataset import (
    DataSet,
    Images,
    PhotoPair,
    Splits,
    format_names,
    list_files,
    make_pair,
)

LAYOUT = (
    "[SIDD_Medium_Srgb/]Data/SCENE/*_NOISY_SRGB_*.PNG and *_GT_SRGB_*.PNG, "
    "ValidationNoisyBlocksSrgb.mat, ValidationGtBlocksSrgb.mat"
)
SOURCE = "from the website of SIDD at York University; its page states an MIT licence"
FOLDERS = ("SIDD_Medium_Srgb/Data", "Data")
BLOCKS = ("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")
HEADER_BYTES = 1024
HDF5 = b"\x89HDF\r\n\x1a\n"
MAX_NUMBERS = 2**30  # in one array; SIDD has a quarter of it
NOISY = "NOISY_SRGB"
CLEAN = "GT_SRGB"


def _find_splits(root: Path) -> Splits:
    data = next(
        (root / folder for folder in FOLDERS if (root / folder).is_dir()), root / FOLDERS[0]
    )
    if not data.is_dir():
        raise ConfigError(
            f"{data} is missing, the training half of SIDD-Medium; the layout must be {LAYOUT}"
        )
    scenes = sorted(
        entry for entry in data.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if not scenes:
        raise ConfigError(f"{data} has no folders of scenes; the layout must be {LAYOUT}")
    return Splits(
        tuple(pair for scene in scenes for pair in _list_pairs(scene)),
        {"sidd_validation": _list_blocks(root)},
    )


def _list_pairs(scene: Path) -> list[PhotoPair]:
    """List the pairs of one scene instance."""
    files = {
        name: path
        for name, path in list_files(scene, LAYOUT).items()
        if NOISY in name or CLEAN in name
    }
    noisy = [name for name in files if NOISY in name]
    alone = [
        name
        for name in files
        if name.replace(NOISY, CLEAN) not in files or name.replace(CLEAN, NOISY) not in files
    ]
    if alone or not noisy:
        fault = f"no partner for {format_names(alone)}" if alone else f"no *{NOISY}* image"
        raise ConfigError(f"{scene}: {fault}; get the folder again")
    return [
        make_pair(f"{scene.name}/{name}", files[name], files[name.replace(NOISY, CLEAN)])
        for name in noisy
    ]


def _list_blocks(root: Path) -> tuple[PhotoPair, ...]:
    """List the validation blocks, one pair for each."""
    found = {
        name: [
            path for path in (root / f"{name}.mat", root.parent / f"{name}.mat") if path.is_file()
        ]
        for name in BLOCKS
    }
    missing = [f"{name}.mat" for name, paths in found.items() if not paths]
    if missing:
        raise ConfigError(
            f"{root} has no {' and no '.join(missing)}, the validation blocks of SIDD; "
            f"the layout must be {LAYOUT}"
        )
    files = tuple(paths[0] for paths in found.values())
    scenes, blocks = _read_sizes(files)
    load = cache(partial(_load_blocks, files))
    return tuple(
        PhotoPair(f"{scene:02d}/{block:02d}", files, partial(_read_block, load, scene, block))
        for scene in range(scenes)
        for block in range(blocks)
    )


def _read_sizes(files: tuple[Path, ...]) -> tuple[int, int]:
    """Read the numbers of scenes and of blocks per scene from the headers of the two files.

    Raises:
        ConfigError: a file does not hold its array, or the two arrays differ in size.
    """
    from scipy.io import whosmat

    shapes: list[tuple[int, ...]] = []
    for name, path in zip(BLOCKS, files, strict=True):
        with _report_unreadable(path):
            headers = {array: (shape, dtype) for array, shape, dtype in reversed(whosmat(path))}
        shape, dtype = headers.get(name, ((), ""))
        is_images = len(shape) == 5 and shape[4] == 3 and dtype == "uint8"
        if not is_images or not 0 < prod(shape) <= MAX_NUMBERS:
            raise ConfigError(
                f"{path} holds {headers or 'nothing'}; it must hold {name}, "
                "scenes x blocks x height x width x 3 of uint8"
            )
        shapes.append(shape)
    if shapes[0] != shapes[1]:
        raise ConfigError(
            f"the validation blocks of SIDD differ in size: {files[0].name} {shapes[0]}, "
            f"{files[1].name} {shapes[1]}; get both again"
        )
    return shapes[0][0], shapes[0][1]


def _load_blocks(files: tuple[Path, ...]) -> tuple[Any, ...]:
    """Load both arrays (scenes, blocks, height, width, 3), uint8."""
    from scipy.io import loadmat

    arrays = []
    for name, path in zip(BLOCKS, files, strict=True):
        with _report_unreadable(path):
            arrays.append(loadmat(path, variable_names=[name])[name])
        if arrays[-1].dtype != "uint8" or arrays[-1].ndim != 5:
            raise ConfigError(
                f"{path} holds an array {name} that differs from its header; get it again"
            )
    return tuple(arrays)


@contextmanager
def _report_unreadable(path: Path) -> Iterator[None]:
    """Turn any error of reading a .mat file, and a file that holds HDF5, into a ConfigError."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        if b"MATLAB 7.3" in header or HDF5 in header:
            raise ConfigError(
                f"{path} is a .mat file of version 7.3 (HDF5), and SIDD's are of version 5; "
                "get it again"
            )
        yield
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{path} cannot be read as a .mat file ({type(error).__name__}: {error}); get it again"
        ) from error


def _read_block(load: Callable[[], tuple[Any, ...]], scene: int, block: int) -> Images:
    noisy, clean = (_to_tensor(array[scene, block]) for array in load())
    return noisy, clean


def _to_tensor(pixels: Any) -> Tensor:
    """Convert an array (H, W, 3) to a tensor (3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


SIDD = DataSet(
    "SIDD-Medium", LAYOUT, SOURCE, (*FOLDERS, *(f"{name}.mat" for name in BLOCKS)), _find_splits
)

"""SIDD-Medium: Abdelhamed, Lin and Brown, "A High-Quality Denoising Dataset for Smartphone Cameras", CVPR 2018. sRGB images.

    DATA/SIDD_Medium_Srgb/Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_SRGB_010.PNG,
    0001_GT_SRGB_010.PNG, 0001_NOISY_SRGB_011.PNG, ... DATA/ValidationNoisyBlocksSrgb.mat,
    DATA/ValidationGtBlocksSrgb.mat

320 pairs of 160 scene instances to train on; 40 x 32 blocks of 256 x 256 pixels to test on. DATA
may be SIDD_Medium_Srgb itself.
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
from tasks.data.library import DataSet, Images, Library, Photo, few, files_in, pair

LAYOUT = "[SIDD_Medium_Srgb/]Data/SCENE/*_NOISY_SRGB_*.PNG and *_GT_SRGB_*.PNG, ValidationNoisyBlocksSrgb.mat, ValidationGtBlocksSrgb.mat"
SOURCE = "from the website of SIDD at York University; its page states an MIT licence"
FOLDERS = ("SIDD_Medium_Srgb/Data", "Data")
BLOCKS = ("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")
HEADER_BYTES, HDF5 = 1024, b"\x89HDF\r\n\x1a\n"
MOST_NUMBERS = 2**30  # four times those of SIDD
NOISY, CLEAN = "NOISY_SRGB", "GT_SRGB"


def _open(root: Path) -> Library:
    data = next(
        (root / folder for folder in FOLDERS if (root / folder).is_dir()), root / FOLDERS[0]
    )
    if not data.is_dir():
        raise ConfigError(
            f"{data} is missing, the training half of SIDD-Medium; needed is {LAYOUT}"
        )
    scenes = sorted(
        entry for entry in data.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if not scenes:
        raise ConfigError(f"{data} has no folders of scenes; needed is {LAYOUT}")
    return Library(
        tuple(photo for scene in scenes for photo in _pairs(scene)),
        {"sidd_validation": _blocks(root)},
    )


def _pairs(scene: Path) -> list[Photo]:
    """The pairs of one scene instance."""
    files = {
        name: path
        for name, path in files_in(scene, LAYOUT).items()
        if NOISY in name or CLEAN in name
    }
    noisy = [name for name in files if NOISY in name]
    alone = [
        name
        for name in files
        if name.replace(NOISY, CLEAN) not in files or name.replace(CLEAN, NOISY) not in files
    ]
    if alone or not noisy:
        raise ConfigError(
            f"{scene}: {f'no partner for {few(alone)}' if alone else f'no *{NOISY}* image'}; get the folder again"
        )
    return [
        pair(
            f"{scene.name}/{name}", files[name], files[name.replace(NOISY, CLEAN)], scene=scene.name
        )
        for name in noisy
    ]


def _blocks(root: Path) -> tuple[Photo, ...]:
    """One photo for each validation block."""
    places = [
        next(
            (
                path
                for path in (root / f"{name}.mat", root.parent / f"{name}.mat")
                if path.is_file()
            ),
            None,
        )
        for name in BLOCKS
    ]
    missing = [f"{name}.mat" for name, path in zip(BLOCKS, places, strict=True) if path is None]
    if missing:
        raise ConfigError(
            f"{root} has no {' and no '.join(missing)}, the validation blocks of SIDD; needed is {LAYOUT}"
        )
    files = tuple(path for path in places if path is not None)
    scenes, blocks = _sizes(files)
    load = cache(partial(_load, files))
    return tuple(
        Photo(f"{scene:02d}-{block:02d}", files, partial(_block, load, scene, block))
        for scene in range(scenes)
        for block in range(blocks)
    )


def _sizes(files: tuple[Path, ...]) -> tuple[int, int]:
    """Scenes and blocks, from the headers.

    Raises ConfigError if the two files do not hold what they should.
    """
    from scipy.io import whosmat

    found: list[tuple[int, ...]] = []
    for name, path in zip(BLOCKS, files, strict=True):
        with _readable(path):
            headers = {each: (shape, kind) for each, shape, kind in reversed(whosmat(path))}
        shape, kind = headers.get(name, ((), ""))
        if (
            len(shape) != 5
            or shape[4] != 3
            or kind != "uint8"
            or not 0 < prod(shape) <= MOST_NUMBERS
        ):
            raise ConfigError(
                f"{path} holds {headers or 'nothing'}; it must hold {name}, scenes x blocks x height x width x 3 of uint8"
            )
        found.append(shape)
    if found[0] != found[1]:
        raise ConfigError(
            f"the validation blocks of SIDD differ in size: {files[0].name} {found[0]}, {files[1].name} {found[1]}; get both again"
        )
    return found[0][0], found[0][1]


def _load(files: tuple[Path, ...]) -> tuple[Any, ...]:
    """Both arrays, scenes x blocks x height x width x 3."""
    from scipy.io import loadmat

    arrays = []
    for name, path in zip(BLOCKS, files, strict=True):
        with _readable(path):
            arrays.append(loadmat(path, variable_names=[name])[name])
        if arrays[-1].dtype != "uint8" or arrays[-1].ndim != 5:
            raise ConfigError(
                f"{path} holds something else as {name} than its header says; get it again"
            )
    return tuple(arrays)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises ConfigError for whatever scipy raises for a file that is no .mat, or half of one, and for one that holds HDF5."""
    try:
        with path.open("rb") as file:
            if b"MATLAB 7.3" in (beginning := file.read(HEADER_BYTES)) or HDF5 in beginning:
                raise ConfigError(
                    f"{path} is a .mat file of version 7.3 (HDF5), and SIDD's are of version 5; get it again"
                )
        yield
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{path} cannot be read as a .mat file ({type(error).__name__}: {error}); get it again"
        ) from error


def _block(load: Callable[[], tuple[Any, ...]], scene: int, block: int) -> Images:
    noisy, clean = (_tensor(array[scene, block]) for array in load())
    return noisy, clean


def _tensor(pixels: Any) -> Tensor:
    """(H, W, 3) as (3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


SIDD = DataSet(
    "SIDD-Medium", LAYOUT, SOURCE, (*FOLDERS, *(f"{name}.mat" for name in BLOCKS)), _open
)

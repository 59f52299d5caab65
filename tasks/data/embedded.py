"""Real photographs that come with the dependencies: nothing is downloaded.

Split by photograph: none is on two sides.

    test         chelsea, flower, coffee: everyday colour photographs
    calibration  china
    train        astronaut, motorcycle, rocket (everyday colour); ihc, retina, hubble_deep_field (microscope, eye, telescope);
                 camera, coins, moon, brick, grass, gravel (grey, repeated to RGB)

`chelsea` is also known as `cat`; the two motorcycle files are one scene, of which the left view is
taken. Of photographs that are much alike everywhere (retina, hubble, moon and the three textures)
the middle 256 x 256 is used, so that half of what is trained on, by area, is everyday colour. Grey
ones come to a third. Left out: drawings, rendered or scanned pages, one- and few-colour pictures,
photographs without detail (cell, clock_motion), tiny ones.

Files are read from the installed packages scikit-image and scikit-learn by their place, without
importing these.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from bench.contract import Pair
from bench.errors import ConfigError
from tasks.data.library import cut_to_multiple
from tasks.data.pairs import Change, Scene
from tasks.data.photographs import as_float, read_photograph

SPLIT_VERSION = 1  # raise it when the split, the crops, their colours or the noise change in a way that no file and no option shows
TRAIN = (
    *(
        "astronaut.png",
        "motorcycle_left.png",
        "rocket.jpg",
        "ihc.png",
        "retina.jpg",
        "hubble_deep_field.jpg",
    ),
    *("camera.png", "coins.png", "moon.png", "brick.png", "grass.png", "gravel.png"),
)
CALIBRATION = ("china.jpg",)
TEST = ("chelsea.png", "flower.jpg", "coffee.png")
FROM_SCIKIT_LEARN = ("china.jpg", "flower.jpg")
MIDDLE_ONLY = ("retina", "hubble_deep_field", "moon", "brick", "grass", "gravel")
MIDDLE_PIXELS = 256


def scenes(files: Sequence[str]) -> list[Scene]:
    """The clean photographs, one (3, H, W) of uint8 each. Raises ConfigError if one is missing."""
    return [_scene(file) for file in files]


@lru_cache(maxsize=4)
def pairs(files: Sequence[str], degrade: Change, multiple: int = 1) -> tuple[Pair, ...]:
    """Photographs and their degraded twins, which depend on `degrade` and the name of the photograph alone, never on a seed of a training.

    Args:
        files: names of photographs.
        degrade: hashable.
        multiple: of height and width, to which the clean ones are cut.
    """
    return tuple(_pair(scene, degrade, multiple) for scene in scenes(files))


def fingerprint_parts() -> list[bytes]:
    """Name and bytes of every file that is used, and the version of the split."""
    return [str(SPLIT_VERSION).encode()] + [
        part
        for file in TRAIN + CALIBRATION + TEST
        for part in (file.encode(), _path(file).read_bytes())
    ]


@lru_cache
def _scene(file: str) -> Scene:
    name = Path(file).stem
    image = read_photograph(_path(file))
    return Scene(name, (_middle(image) if name in MIDDLE_ONLY else image,))


def _middle(image: Tensor) -> Tensor:
    """The middle (3, MIDDLE_PIXELS, MIDDLE_PIXELS) of (3, H, W)."""
    top, left = ((size - MIDDLE_PIXELS) // 2 for size in image.shape[1:])
    return image[:, top : top + MIDDLE_PIXELS, left : left + MIDDLE_PIXELS].contiguous()


def _pair(scene: Scene, degrade: Change, multiple: int) -> Pair:
    clean = as_float(cut_to_multiple(scene.images[0], multiple))
    seed = int(hashlib.sha256(f"test noise of {scene.name}".encode()).hexdigest()[:15], 16)
    return Pair(scene.name, degrade(clean, torch.Generator().manual_seed(seed)), clean)


def _path(file: str) -> Path:
    """Where the installed package keeps a photograph."""
    package, folder = (
        ("sklearn", "datasets/images") if file in FROM_SCIKIT_LEARN else ("skimage", "data")
    )
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the embedded photograph {file} comes with the package {package}, which is not installed; install it again"
        )
    path = Path(spec.submodule_search_locations[0], folder, file)
    if not path.is_file():
        raise ConfigError(
            f"the embedded photograph {path} is missing; install the package {package} again, in the version of constraints.txt"
        )
    return path

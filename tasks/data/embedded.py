"""The embedded photographs: real ones that come with the dependencies, so nothing is downloaded.

Split by photograph: a test photograph is in no other split. Calibration has one photograph that is
held out from the gradient steps and three that are trained on as well, so that layers are judged on
four everyday colour photographs instead of one.

    test         chelsea, flower, coffee: everyday colour photographs
    calibration  china; and astronaut, motorcycle, rocket, which are also trained on
    train        astronaut, motorcycle, rocket (everyday colour);
                 ihc, retina, hubble_deep_field (microscope, eye, telescope);
                 camera, coins, moon, brick, grass, gravel (grey, repeated to RGB)

`chelsea` is also known as `cat`; the two motorcycle files show one scene, of which the left view is
used. Of photographs that look much the same everywhere (retina, hubble, moon and the three
textures) only the middle 256 x 256 is used, so that half of the training area is everyday colour.
Grey photographs make up a third. Not used: drawings, rendered or scanned pages, pictures of one or
few colours, photographs without detail (cell, clock_motion), tiny ones.

Files are read from the folders of the installed packages scikit-image and scikit-learn, without
importing the packages.
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
from tasks.data.dataset import crop_to_multiple
from tasks.data.pairs import Photograph, Transform
from tasks.data.photographs import read_photograph, to_float

# Raise it when the split, the crops, their colours or the noise change in a way that neither the
# files nor the options show.
SPLIT_VERSION = 2
TRAIN = (
    "astronaut.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "ihc.png",
    "retina.jpg",
    "hubble_deep_field.jpg",
    "camera.png",
    "coins.png",
    "moon.png",
    "brick.png",
    "grass.png",
    "gravel.png",
)
HELD_OUT = ("china.jpg",)  # from the gradient steps
CALIBRATION = (*HELD_OUT, "astronaut.png", "motorcycle_left.png", "rocket.jpg")
TEST = ("chelsea.png", "flower.jpg", "coffee.png")
FROM_SCIKIT_LEARN = ("china.jpg", "flower.jpg")
MIDDLE_ONLY = ("retina", "hubble_deep_field", "moon", "brick", "grass", "gravel")
MIDDLE_PIXELS = 256


def training_files(hold_out: bool) -> tuple[str, ...]:
    """Return the files for gradient steps; without `hold_out`, china is one of them."""
    return TRAIN if hold_out else TRAIN + HELD_OUT


def load_photographs(files: Sequence[str]) -> list[Photograph]:
    """Load the clean photographs, uint8 (3, H, W). Raises ConfigError if one is missing."""
    return [_load_photograph(file) for file in files]


@lru_cache(maxsize=4)
def load_pairs(files: Sequence[str], degrade: Transform, multiple: int = 1) -> tuple[Pair, ...]:
    """Load photographs and degrade them.

    The degraded image depends on `degrade` and the name of the photograph alone, never on the seed
    of a training.

    Args:
        files: file names of photographs.
        degrade: the degradation; hashable.
        multiple: height and width of the clean images are cropped to multiples of it.
    """
    photographs = load_photographs(files)
    return tuple(_make_pair(photograph, degrade, multiple) for photograph in photographs)


def fingerprint_parts() -> list[bytes]:
    """Return the version of the split, then the name and the bytes of each file in use."""
    return [str(SPLIT_VERSION).encode()] + [
        part
        for file in TRAIN + CALIBRATION + TEST
        for part in (file.encode(), _find_file(file).read_bytes())
    ]


@lru_cache
def _load_photograph(file: str) -> Photograph:
    name = Path(file).stem
    image = read_photograph(_find_file(file))
    return Photograph(name, (_crop_middle(image) if name in MIDDLE_ONLY else image,))


def _crop_middle(image: Tensor) -> Tensor:
    """Crop an image (3, H, W) to its middle (3, MIDDLE_PIXELS, MIDDLE_PIXELS)."""
    top, left = ((size - MIDDLE_PIXELS) // 2 for size in image.shape[1:])
    return image[:, top : top + MIDDLE_PIXELS, left : left + MIDDLE_PIXELS].contiguous()


def _make_pair(photograph: Photograph, degrade: Transform, multiple: int) -> Pair:
    clean = to_float(crop_to_multiple(photograph.images[0], multiple))
    seed = int(hashlib.sha256(f"test noise of {photograph.name}".encode()).hexdigest()[:15], 16)
    return Pair(photograph.name, degrade(clean, torch.Generator().manual_seed(seed)), clean)


def _find_file(file: str) -> Path:
    """Return the path of a photograph in its installed package."""
    package, folder = (
        ("sklearn", "datasets/images") if file in FROM_SCIKIT_LEARN else ("skimage", "data")
    )
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the embedded photograph {file} comes with the package {package}, "
            "which is not installed; install it again"
        )
    path = Path(spec.submodule_search_locations[0], folder, file)
    if not path.is_file():
        raise ConfigError(
            f"the embedded photograph {path} is missing; "
            f"install the package {package} again, in the version of constraints.txt"
        )
    return path

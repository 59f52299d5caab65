"""The embedded images: nothing is downloaded.

Two data sets:

    embedded     trained and calibrated on dead leaves (`tasks.data.leaves`), tested on all 17
                 photographs that come with the dependencies
    photographs  trained, calibrated and tested on those photographs, split by photograph

Test photographs of `embedded` are cropped to the middle TEST_PIXELS x TEST_PIXELS at most, so that
none outweighs the others and a test takes seconds. Grey ones stay grey, in three equal channels.

The split of `photographs`:

    test         chelsea, flower, coffee: everyday colour photographs
    calibration  china; and astronaut, motorcycle, rocket, which are also trained on
    train        astronaut, motorcycle, rocket (everyday colour);
                 ihc, retina, hubble_deep_field (microscope, eye, telescope);
                 camera, coins, moon, brick, grass, gravel (grey)

`chelsea` is also known as `cat`; the two motorcycle files show one scene, of which the left view is
used. Of training photographs that look much the same everywhere (retina, hubble, moon and the three
textures) only the middle 256 x 256 is used, so that half of the training area is everyday colour.
Not used: drawings, rendered or scanned pages, pictures of one or few colours, photographs without
detail (cell, clock_motion), tiny ones.

Files are read from the folders of the installed packages scikit-image, scikit-learn and matplotlib,
without importing the packages.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench.contract import Pair
from bench.errors import ConfigError
from tasks.data import leaves
from tasks.data.dataset import crop_to_multiple
from tasks.data.pairs import Photograph, Transform
from tasks.data.photographs import read_photograph, to_float

# Raise it when the split, the crops, their colours or the noise change in a way that neither the
# files nor the options show.
SPLIT_VERSION = 3
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
ALL = (*TRAIN, *HELD_OUT, *TEST, "grace_hopper.jpg")
FOLDERS = {  # file -> package, and folder in it; every other file is scikit-image's
    "china.jpg": ("sklearn", "datasets/images"),
    "flower.jpg": ("sklearn", "datasets/images"),
    "grace_hopper.jpg": ("matplotlib", "mpl-data/sample_data"),
}
MIDDLE_ONLY = ("retina", "hubble_deep_field", "moon", "brick", "grass", "gravel")
MIDDLE_PIXELS = 256
TEST_PIXELS = 384
SPLITS = ("train", "calibration", "embedded")  # the last is the test set


class EmbeddedImages(NamedTuple):
    """One embedded data set.

    Args:
        source: what it is, for people.
        recoloured: whether colours of training crops are changed at random.
        train: whether images are held out -> the images for gradient steps.
        calibration: the images for scoring layers.
        test: the photographs to test on.
        fingerprint: what the images depend on besides the photographs.
    """

    source: str
    recoloured: bool
    train: Callable[[bool], Sequence[Photograph]]
    calibration: Callable[[], Sequence[Photograph]]
    test: Callable[[], Sequence[Photograph]]
    fingerprint: str = ""

    def load(self, split: str, hold_out: bool) -> Sequence[Photograph]:
        """Return the clean images of one of SPLITS, uint8 (3, H, W); no other split is read."""
        if split == "train":
            return self.train(hold_out)
        return self.calibration() if split == "calibration" else self.test()


def training_files(hold_out: bool) -> tuple[str, ...]:
    """Return the photographs for gradient steps; without `hold_out`, china is one of them."""
    return TRAIN if hold_out else TRAIN + HELD_OUT


def load_photographs(files: Sequence[str]) -> list[Photograph]:
    """Load clean photographs, uint8 (3, H, W). Raises ConfigError if one is missing."""
    return [
        _crop_middle(photograph, MIDDLE_PIXELS) if photograph.name in MIDDLE_ONLY else photograph
        for photograph in map(_load_photograph, files)
    ]


def load_test_photographs() -> list[Photograph]:
    """Load all photographs, cropped to TEST_PIXELS. Raises ConfigError if one is missing."""
    return [_crop_middle(_load_photograph(file), TEST_PIXELS) for file in ALL]


DATA = {
    "embedded": EmbeddedImages(
        "dead leaves, made here, to train on; photographs that come with scikit-image, "
        "scikit-learn and matplotlib, degraded here, to test on",
        False,
        leaves.training_leaves,
        leaves.calibration_leaves,
        load_test_photographs,
        f"leaves {leaves.VERSION}",
    ),
    "photographs": EmbeddedImages(
        "photographs that come with scikit-image and scikit-learn, degraded here",
        True,
        lambda hold_out: load_photographs(training_files(hold_out)),
        lambda: load_photographs(CALIBRATION),
        lambda: load_photographs(TEST),
    ),
}


@lru_cache(maxsize=4)
def load_pairs(
    data: str, split: str, hold_out: bool, degrade: Transform, multiple: int = 1
) -> tuple[Pair, ...]:
    """Load the images of a split and degrade them.

    The degraded image depends on `degrade` and the name of the image alone, never on the seed of a
    training.

    Args:
        data: a name in DATA.
        split: one of SPLITS.
        hold_out: whether some training images are held out.
        degrade: the degradation; hashable.
        multiple: height and width of the clean images are cropped to multiples of it.
    """
    photographs = DATA[data].load(split, hold_out)
    return tuple(degrade_photograph(photograph, degrade, multiple) for photograph in photographs)


def fingerprint_parts(data: str) -> list[bytes]:
    """Return the version of the split, then the name and the bytes of each file in use."""
    version = f"{data} {SPLIT_VERSION} {DATA[data].fingerprint}"
    return [version.encode()] + [
        part for file in ALL for part in (file.encode(), _find_file(file).read_bytes())
    ]


@lru_cache
def _load_photograph(file: str) -> Photograph:
    return Photograph(Path(file).stem, (read_photograph(_find_file(file)),))


def _crop_middle(photograph: Photograph, pixels: int) -> Photograph:
    """Crop a photograph to at most `pixels` rows and columns in its middle."""
    (image,) = photograph.images
    top, left = (max(0, size - pixels) // 2 for size in image.shape[1:])
    cropped = image[:, top : top + pixels, left : left + pixels].contiguous()
    return Photograph(photograph.name, (cropped,))


def degrade_photograph(photograph: Photograph, degrade: Transform, multiple: int = 1) -> Pair:
    """Degrade a clean photograph, by noise that its name determines.

    Args:
        photograph: with the images (clean,).
        degrade: the degradation.
        multiple: height and width of the clean image are cropped to multiples of it.
    """
    clean: Tensor = to_float(crop_to_multiple(photograph.images[0], multiple))
    seed = int(hashlib.sha256(f"test noise of {photograph.name}".encode()).hexdigest()[:15], 16)
    return Pair(photograph.name, degrade(clean, torch.Generator().manual_seed(seed)), clean)


def _find_file(file: str) -> Path:
    """Return the path of a photograph in its installed package."""
    package, folder = FOLDERS.get(file, ("skimage", "data"))
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

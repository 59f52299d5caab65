"""Small folders of photographs in the official layouts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

from bench.errors import ConfigError
from tasks.data.dataset import DataSet
from tasks.data.decoded_cache import load_data_set

# Fault -> function that spoils a good folder, and a pattern of the message.
Faults = dict[str, tuple[Callable[[Path], object], str]]


def write_noise(path: Path, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Path:
    """Write a picture of noise of size (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(
        numpy.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), numpy.uint8)
    ).save(path)
    return path


def truncate(path: Path) -> None:
    """Keep only the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_float_image(path: Path) -> None:
    """Write a picture with floating-point pixels, whose range is not known."""
    Image.fromarray(numpy.zeros((20, 24), numpy.float32)).save(path, format="TIFF")


def empty_folder(folder: Path) -> None:
    """Remove all files from a folder."""
    shutil.rmtree(folder)
    folder.mkdir()


def check_refusal(
    root: Path, data_set: DataSet, spoil: Callable[[Path], object], message: str
) -> None:
    """Spoil a folder and check that loading it fails with this message in one line."""
    spoil(root)
    with pytest.raises(ConfigError, match=message) as error:
        load_data_set(root, data_set)
    assert "\n" not in str(error.value)

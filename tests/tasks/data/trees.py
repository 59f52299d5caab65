"""Small folders of photographs in the official layouts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

from bench.errors import ConfigError
from tasks.data.library import DataSet
from tasks.data.prepared import prepared

Faults = dict[
    str, tuple[Callable[[Path], object], str]
]  # what is done to a good folder, and what the message says


def write(path: Path, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Path:
    """A picture of noise of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(
        numpy.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), numpy.uint8)
    ).save(path)
    return path


def cut_short(path: Path) -> None:
    """Its first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def floating_point(path: Path) -> None:
    """Pixels whose range is not known."""
    Image.fromarray(numpy.zeros((20, 24), numpy.float32)).save(path, format="TIFF")


def emptied(folder: Path) -> None:
    """Without its files."""
    shutil.rmtree(folder)
    folder.mkdir()


def assert_refused(
    root: Path, data_set: DataSet, spoil: Callable[[Path], object], message: str
) -> None:
    """One line that says so."""
    spoil(root)
    with pytest.raises(ConfigError, match=message) as error:
        prepared(root, data_set)
    assert "\n" not in str(error.value)

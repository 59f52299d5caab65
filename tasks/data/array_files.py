"""Decoded images as files of raw numbers, each named by the start of the SHA-256 of its content."""

import hashlib
import math
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.files import atomic
from bench.files.log import LOG

NAME_LENGTH = 32
ARRAY_NAME = re.compile(f"[0-9a-f]{{{NAME_LENGTH}}}\\.raw")
ITEM_BYTES = {"uint8": 1, "float32": 4}
Description = tuple[str, list[int], str, int]  # file, shape, dtype, bytes


class ArrayOnDisk:
    """An image (3, H, W) on disk; an index reads the pixels that it selects as a tensor.

    Args:
        path: file of the array.
        shape: (3, H, W).
        dtype: "uint8" or "float32".
    """

    def __init__(self, path: Path, shape: Sequence[int], dtype: str) -> None:
        self.path, self.shape, self.dtype = path, tuple(shape), dtype

    def __getitem__(self, index: Any) -> Tensor:
        import numpy

        return torch.from_numpy(
            numpy.array(numpy.memmap(self.path, self.dtype, "r", shape=self.shape)[index])
        )


def write_array(folder: Path, image: Tensor) -> Description:
    """Write an image (C, H, W) into a folder, unless it is there, and describe it."""
    pixels: Any = image.contiguous().numpy()
    file = f"{hashlib.sha256(pixels).hexdigest()[:NAME_LENGTH]}.raw"
    if not (folder / file).is_file() or not _is_intact(folder / file):
        atomic.write(folder / file, pixels.data)
    return file, list(pixels.shape), str(pixels.dtype), pixels.nbytes


def is_valid_description(description: Any) -> bool:
    """Return whether [file, shape, dtype, bytes] can describe an array."""
    file, shape, dtype, size = description
    is_image = len(shape) == 3 and all(type(length) is int and length > 0 for length in shape)
    return bool(
        ARRAY_NAME.fullmatch(file)
        and dtype in ITEM_BYTES
        and is_image
        and size == ITEM_BYTES[dtype] * math.prod(shape)
    )


def find_unusable(folder: Path, files: Iterable[str]) -> set[str]:
    """Return the arrays that are missing or damaged; set the damaged ones aside, and warn once."""
    missing, damaged = set(), set()
    for file in files:
        if not (folder / file).is_file():
            missing.add(file)
        elif not _is_intact(folder / file):
            damaged.add(file)
            with suppress(FileNotFoundError):  # another process has done it
                os.replace(folder / file, folder / f"{file}.damaged")
    if damaged:
        LOG.warning(
            "prunebench: warning: %d decoded images in %s are damaged (their checksums do not "
            "agree with their content); they are set aside as *.raw.damaged and decoded again",
            len(damaged),
            folder,
        )
    return missing | damaged


def _is_intact(path: Path) -> bool:
    """Return whether the content of an array is what its name says."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:NAME_LENGTH] == path.stem

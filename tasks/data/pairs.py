"""Random training crops, with the same cut and the same symmetry for degraded and clean.

A patch is counted in pixels of the clean one.

A photograph is drawn with a probability proportional to its area, so that every part of the
training side is seen about equally often; the place in it is uniform; then one of the eight
symmetries of the square (flips, 90-degree rotations, transposes). All randomness comes from the
caller's generator (CPU): the same generator state gives the same crops.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bench.errors import ConfigError
from tasks.data.photographs import as_float

Change = Callable[[Tensor, Generator], Tensor]  # (N, C, H, W) -> another of equal shape


class Scene(NamedTuple):
    """What is known of one photograph: (clean,) or (degraded, clean), each (C, H, W), uint8 or float32 in [0, 1].

    The clean one may be larger by a whole factor. Besides tensors there are images on disk, of
    which an index gives a tensor.
    """

    name: str
    images: tuple[Any, ...]


class DegradedCrops:
    """Crops of clean photographs that are degraded anew at every draw.

    A source of `bench.contract.Crops`.

    Args:
        scenes: at least one, with the clean image alone.
        degrade: makes the degraded crops of a batch of clean ones.
        vary: changes the clean crops first.
        scale: how many times smaller they become.
    """

    def __init__(
        self, scenes: Sequence[Scene], degrade: Change, vary: Change | None = None, scale: int = 1
    ) -> None:
        self._scenes, self._degrade, self._vary, self._scale = Scenes(scenes), degrade, vary, scale

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """`count` random (degraded, clean) crops, clean (count, C, patch, patch).

        Raises ConfigError if `patch` does not fit.
        """
        _check_scale(patch, self._scale)
        (clean,) = self._scenes.crops(count, patch, generator)
        clean = self._vary(clean, generator) if self._vary else clean
        return self._degrade(clean, generator), clean


class PairedCrops:
    """Crops of real pairs. A source of `bench.contract.Crops`.

    Args:
        scenes: at least one, each with (degraded, clean).
    """

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = Scenes(scenes)

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """`count` random (degraded, clean) crops, clean (count, C, patch, patch).

        Raises ConfigError if `patch` does not fit.
        """
        degraded, clean = self._scenes.crops(count, patch, generator)
        return degraded, clean


class Scenes:
    """Photographs to cut from."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = list(scenes)
        sizes = [scene.images[-1].shape[-2:] for scene in scenes]
        self._areas = list(accumulate(height * width for height, width in sizes))
        self._smallest = min(range(len(sizes)), key=lambda index: min(sizes[index]))
        self._scale = sizes[0][-1] // scenes[0].images[0].shape[-1]

    def crops(self, count: int, patch: int, generator: Generator) -> list[Tensor]:
        """One (count, C, patch, patch) of float32 in [0, 1] for each image of a scene, cut at the same places; smaller where it is."""
        self._check(patch)
        draws = torch.randint(2**62, (count, 4), generator=generator).tolist()
        cuts = [self._cut(draw, patch) for draw in draws]
        return [torch.stack(images) for images in zip(*cuts, strict=True)]

    def _cut(self, draw: Sequence[int], patch: int) -> list[Tensor]:
        """The crop that four random integers stand for: photograph, row, column, symmetry."""
        area, row, column, symmetry = draw
        images = self._scenes[bisect_right(self._areas, area % self._areas[-1])].images
        height, width = images[0].shape[-2:]
        coarse = patch // self._scale
        top, left = row % (height - coarse + 1), column % (width - coarse + 1)
        crops = []
        for image in images:
            step = image.shape[-1] // width
            crops.append(
                image[:, top * step : (top + coarse) * step, left * step : (left + coarse) * step]
            )
        return [oriented(as_float(crop), symmetry % 8) for crop in crops]

    def _check(self, patch: int) -> None:
        name, images = self._scenes[self._smallest]
        height, width = images[-1].shape[-2:]
        if min(height, width) < patch:
            raise ConfigError(
                f"training photograph {name} has {width} x {height} pixels, less than the patch of {patch}; "
                f"remove it or choose a smaller patch (a multiple of 16, at most {min(height, width)}: --set recipe.patch=...)"
            )
        _check_scale(patch, self._scale)


def _check_scale(patch: int, scale: int) -> None:
    if patch % scale:
        raise ConfigError(
            f"recipe: patch = {patch} must be a multiple of the scale, {scale}; choose another: --set recipe.patch=..."
        )


def oriented(image: Tensor, symmetry: int) -> Tensor:
    """One of the eight symmetries (0: as it is) of a square (..., H, W)."""
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if symmetry & bit]
    image = image.flip(axes) if axes else image
    return image.transpose(-1, -2) if symmetry & 4 else image

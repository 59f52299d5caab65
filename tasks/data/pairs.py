"""Random training crops, at the same position and with the same symmetry for degraded and clean.

The patch size is counted in pixels of the clean image.

A photograph is drawn with a probability proportional to its area, so that all training pixels are
used about equally often; the position in it is uniform; then one of the eight symmetries of the
square (flips, 90-degree rotations, transposes) is applied. All randomness comes from the caller's
generator (CPU): the same generator state gives the same crops.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bench.errors import ConfigError
from tasks.data.photographs import to_float

# A batch (N, C, H, W) -> the changed batch; a degradation may reduce H and W.
Transform = Callable[[Tensor, Generator], Tensor]


class Photograph(NamedTuple):
    """The images of one photograph.

    Args:
        name: unique in its split.
        images: (clean,) or (degraded, clean), each (C, H, W), uint8 or float32 in [0, 1]; the clean
            one may be larger by an integer factor. An image is a tensor, or an array on disk that
            returns a tensor when it is indexed.
    """

    name: str
    images: tuple[Any, ...]


class DegradedCrops:
    """Crops of clean photographs, degraded anew at every draw; implements `bench.contract.Crops`.

    Args:
        photographs: at least one, each with the images (clean,).
        degrade: makes the degraded crops from a batch of clean crops.
        augment: changes the clean crops before they are degraded.
        scale: how many times smaller the degraded crops are.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        degrade: Transform,
        augment: Transform | None = None,
        scale: int = 1,
    ) -> None:
        self._sampler = CropSampler(photographs)
        self._degrade = degrade
        self._augment = augment
        self._scale = scale

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw `count` random pairs of crops.

        Returns:
            Degraded and clean crops, the clean ones (count, C, patch, patch).

        Raises:
            ConfigError: `patch` does not fit the photographs or the scale.
        """
        _check_scale(patch, self._scale)
        (clean,) = self._sampler.draw_crops(count, patch, generator)
        clean = self._augment(clean, generator) if self._augment else clean
        return self._degrade(clean, generator), clean


class PairedCrops:
    """Crops of real pairs; implements `bench.contract.Crops`.

    Args:
        photographs: at least one, each with the images (degraded, clean).
    """

    def __init__(self, photographs: Sequence[Photograph]) -> None:
        self._sampler = CropSampler(photographs)

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw `count` random pairs of crops.

        Returns:
            Degraded and clean crops, the clean ones (count, C, patch, patch).

        Raises:
            ConfigError: `patch` does not fit the photographs or the scale.
        """
        degraded, clean = self._sampler.draw_crops(count, patch, generator)
        return degraded, clean


class CropSampler:
    """Draws random crops from photographs.

    Args:
        photographs: at least one, all with the same number of images and the same scale.
    """

    def __init__(self, photographs: Sequence[Photograph]) -> None:
        self._photographs = list(photographs)
        sizes = [photograph.images[-1].shape[-2:] for photograph in photographs]
        self._areas = list(accumulate(height * width for height, width in sizes))
        self._smallest = min(range(len(sizes)), key=lambda index: min(sizes[index]))
        self._scale = sizes[0][-1] // photographs[0].images[0].shape[-1]

    def draw_crops(self, count: int, patch: int, generator: Generator) -> list[Tensor]:
        """Draw `count` crops from each image of the photographs, at the same positions.

        Returns:
            One tensor for each image of a photograph, float32 in [0, 1]: the last one (count, C,
            patch, patch), a degraded one smaller by the scale.

        Raises:
            ConfigError: `patch` does not fit the photographs or the scale.
        """
        self._check(patch)
        draws = torch.randint(2**62, (count, 4), generator=generator).tolist()
        crops = [self._crop(draw, patch) for draw in draws]
        return [torch.stack(images) for images in zip(*crops, strict=True)]

    def _crop(self, draw: Sequence[int], patch: int) -> list[Tensor]:
        """Cut the crop that four random integers select: photograph, row, column, symmetry."""
        area, row, column, symmetry = draw
        index = bisect_right(self._areas, area % self._areas[-1])
        images = self._photographs[index].images
        height, width = images[0].shape[-2:]
        size = patch // self._scale
        top, left = row % (height - size + 1), column % (width - size + 1)
        crops = []
        for image in images:
            scale = image.shape[-1] // width
            rows = slice(top * scale, (top + size) * scale)
            columns = slice(left * scale, (left + size) * scale)
            crops.append(image[:, rows, columns])
        return [apply_symmetry(to_float(crop), symmetry % 8) for crop in crops]

    def _check(self, patch: int) -> None:
        """Raise ConfigError if the patch exceeds a photograph or is no multiple of the scale."""
        name, images = self._photographs[self._smallest]
        height, width = images[-1].shape[-2:]
        if min(height, width) < patch:
            raise ConfigError(
                f"training photograph {name} has {width} x {height} pixels, "
                f"less than the patch of {patch}; remove it or choose a smaller patch "
                f"(a multiple of 16, at most {min(height, width)}: --set recipe.patch=...)"
            )
        _check_scale(patch, self._scale)


def _check_scale(patch: int, scale: int) -> None:
    if patch % scale:
        raise ConfigError(
            f"recipe: patch = {patch} must be a multiple of the scale, {scale}; "
            "choose another: --set recipe.patch=..."
        )


def apply_symmetry(image: Tensor, symmetry: int) -> Tensor:
    """Apply one of the eight symmetries of the square to an image (..., H, W).

    Args:
        image: a square image.
        symmetry: 0 to 7; 0 leaves the image as it is.
    """
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if symmetry & bit]
    image = image.flip(axes) if axes else image
    return image.transpose(-1, -2) if symmetry & 4 else image

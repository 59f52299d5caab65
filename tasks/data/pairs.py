"""Random training crops, at the same position and with the same symmetry for degraded and clean.

The patch size is counted in pixels of the clean image.

For training, a photograph is drawn with a probability proportional to its area, so that all
training pixels are used about equally often. For calibration, photographs come in turn, so that few
crops show many of them. The position in a photograph is uniform; then a symmetry of the square
(flips, 90-degree rotations, transposes) is applied. All randomness comes from the caller's
generator (CPU): the same generator state gives the same crops.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate, cycle, islice
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bench.contract import find_scene
from bench.errors import ConfigError
from tasks.data.photographs import to_float

# A batch (N, C, H, W) -> the changed batch; a degradation may reduce H and W.
Transform = Callable[[Tensor, Generator], Tensor]
SYMMETRIES = (8, 4, 1)  # of the square: all of them, the flips, none; see `apply_symmetry`


class Photograph(NamedTuple):
    """The images of one photograph.

    Args:
        name: unique in its split; `find_scene` tells its scene.
        images: (clean,) or (degraded, clean), each (C, H, W), uint8 or float32 in [0, 1]; the clean
            one may be larger by an integer factor. An image is a tensor, or an array on disk that
            returns a tensor when it is indexed.
    """

    name: str
    images: tuple[Any, ...]


class DegradedCrops:
    """Crops of clean photographs, degraded anew at every draw; implements `bench.contract.Crops`.

    Args:
        sampler: of photographs with the images (clean,).
        degrade: makes the degraded crops from a batch of clean crops.
        augment: changes the clean crops before they are degraded.
        scale: how many times smaller the degraded crops are.
    """

    def __init__(
        self,
        sampler: "CropSampler",
        degrade: Transform,
        augment: Transform | None = None,
        scale: int = 1,
    ) -> None:
        self._sampler = sampler
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
        sampler: of photographs with the images (degraded, clean).
    """

    def __init__(self, sampler: "CropSampler") -> None:
        self._sampler = sampler

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
        symmetries: how many symmetries of the square are applied, one of SYMMETRIES.
        in_turn: whether `draw_crops` takes photographs in turn instead of by their areas. Their
            order is random, but each scene gives one photograph before any gives a second.
    """

    def __init__(
        self, photographs: Sequence[Photograph], symmetries: int = 8, in_turn: bool = False
    ) -> None:
        self._photographs = list(photographs)
        self._symmetries = symmetries
        self._in_turn = in_turn
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
        if self._in_turn:
            indices = list(islice(cycle(self._draw_order(generator)), count))
        else:
            total = self._areas[-1]
            indices = [bisect_right(self._areas, area % total) for area, *_ in draws]
        crops = [self._crop(*chosen, patch) for chosen in zip(indices, draws, strict=True)]
        return [torch.stack(images) for images in zip(*crops, strict=True)]

    def _draw_order(self, generator: Generator) -> list[int]:
        """Draw the order of photographs in turn: first one of each scene, then a second, ..."""
        indices = torch.randperm(len(self._photographs), generator=generator).tolist()
        earlier: Counter[str] = Counter()  # photographs of a scene
        ranks = {}
        for index in indices:
            scene = find_scene(self._photographs[index].name)
            ranks[index] = earlier[scene]
            earlier[scene] += 1
        return sorted(indices, key=ranks.__getitem__)

    def _crop(self, index: int, draw: Sequence[int], patch: int) -> list[Tensor]:
        """Cut the crop of a photograph that random integers select: row, column, symmetry."""
        _, row, column, symmetry = draw
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
        return [apply_symmetry(to_float(crop), symmetry % self._symmetries) for crop in crops]

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
        symmetry: 0 to 7; 0 leaves the image as it is, 1 to 3 flip it, the others transpose it too.
    """
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if symmetry & bit]
    image = image.flip(axes) if axes else image
    return image.transpose(-1, -2) if symmetry & 4 else image

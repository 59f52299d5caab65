"""Crops of restored test photographs, for people to look at; the scores judge whole photographs.

The rule does not depend on any method: of each test set the first PHOTOGRAPHS, and in each the
square of SIDE pixels, on a grid of half a side, with the most detail, which is the largest sum of
absolute differences between neighbours in the clean photograph. The first one is also kept whole;
of a photograph that is wider or higher than WHOLE_SIDE, the most detailed part of that size.
"""

import io
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bench.contract import Pair, Task
from bench.errors import DiskError
from bench.files import crops
from bench.files.crops import crop_path, is_intact
from bench.files.log import LOG
from bench.training.evaluation import OnImage

PHOTOGRAPHS = 3
SIDE = 96
WHOLE_SIDE = 640  # pixels; 384x384 of them take about 0.25 MB


def crop_writer(task: Task, restored_folder: Path, shared_folder: Path) -> OnImage:
    """Return a callback of `evaluate` that writes crops; crops that records share are written once.

    A file that cannot be written costs a crop, not the record. The callback raises DiskError when
    the disk is full or refuses, because then the record could not be stored either.

    Args:
        task: gives the degraded image.
        restored_folder: for the crops of this record.
        shared_folder: for the clean and degraded crops.
    """
    seen: Counter[str] = Counter()

    def on_image(test_set: str, pair: Pair, restored: Tensor) -> None:
        seen[test_set] += 1
        if seen[test_set] > PHOTOGRAPHS:
            return
        try:
            write_crop(test_set, pair, restored)
            if seen[test_set] == 1:
                write_crop(test_set, pair, restored, whole=True)
        except DiskError:
            raise
        except OSError as error:
            LOG.warning(
                "the crop of %s in %s cannot be written: %s", pair.name, restored_folder, error
            )

    def write_crop(test_set: str, pair: Pair, restored: Tensor, whole: bool = False) -> None:
        side = WHOLE_SIDE if whole else SIDE
        top, left = most_detailed_corner(pair.clean, side)
        window = (..., slice(top, top + side), slice(left, left + side))
        path = crop_path(restored_folder, test_set, pair.name, whole)
        _write_picture(path, restored[window])
        shared = {"clean": pair.clean, "degraded": task.baseline_image(pair.degraded)}
        for kind, image in shared.items():
            path = crop_path(shared_folder / kind, test_set, pair.name, whole)
            if not is_intact(path):
                _write_picture(path, image[window])

    return on_image


def most_detailed_corner(clean: Tensor, length: int = SIDE) -> tuple[int, int]:
    """Return top and left of the square with the most detail of a photograph (C, H, W).

    Args:
        clean: the photograph; (0, 0) if it is smaller than the square.
        length: of a side of the square, in pixels.
    """
    grey = clean.float().mean(0)
    detail = torch.zeros_like(grey)
    detail[1:] += grey.diff(dim=0).abs()
    detail[:, 1:] += grey.diff(dim=1).abs()
    side = (min(length, grey.shape[0]), min(length, grey.shape[1]))
    stride = (max(1, side[0] // 2), max(1, side[1] // 2))
    sums = functional.avg_pool2d(detail[None], side, stride=stride)[0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return row * stride[0], column * stride[1]


def _write_picture(path: Path, image: Tensor) -> None:
    from PIL import Image

    pixels = image.clamp(0, 1).mul(255).round().to(torch.uint8)
    content = io.BytesIO()
    picture = Image.fromarray(pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
    picture.save(content, "PNG")
    crops.write(path, content.getvalue())

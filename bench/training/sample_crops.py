"""Crops of restored test photographs, for people to look at; the figures judge whole photographs.

The rule is blind to every method: of each test set the first PHOTOGRAPHS, and in each the square of
SIDE pixels, on a grid of half a side, with the most detail, which is the largest sum of absolute
differences between neighbours in the clean photograph.

    FOLDER/RECORD/SET/PHOTOGRAPH.png                    restored
    FOLDER/DATA/clean|degraded/SET/PHOTOGRAPH.png       what is the same for all records of one task and data set

Each carries the SHA-256 of its other bytes, as a PNG text named "checksum" before its end.
"""

import io
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import torch
from torch import Tensor
from torch.nn import functional

from bench.contract import Pair, Task
from bench.errors import DiskError
from bench.files import atomic
from bench.files.hashing import checksum
from bench.files.log import LOG

PHOTOGRAPHS = 3
SIDE = 96
LONGEST_NAME = 80
END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG
TEXT, NAME = b"tEXt", b"checksum\0"
SEAL_BYTES = 12 + len(NAME) + 64
Look = Callable[[str, Pair, Tensor], None]  # test set, pair, restored (C, H, W)


def keeping(task: Task, restored_folder: Path, shared_folder: Path) -> Look:
    """What writes the crops of one evaluation; crops that all records share are written once.

    A file that cannot be costs crops, no record.

    Raises:
        DiskError: from what it returns; the disk is full or refuses, so the record could not be
            kept either.
    """
    seen: Counter[str] = Counter()

    def look(test_set: str, pair: Pair, restored: Tensor) -> None:
        seen[test_set] += 1
        if seen[test_set] > PHOTOGRAPHS:
            return
        try:
            keep(test_set, pair, restored)
        except DiskError:
            raise
        except OSError as error:
            LOG.warning("no crop of %s in %s is kept: %s", pair.name, restored_folder, error)

    def keep(test_set: str, pair: Pair, restored: Tensor) -> None:
        top, left = most_detailed(pair.clean)
        _write(patch_path(restored_folder, test_set, pair.name), restored, top, left)
        for kind, image in (
            ("clean", pair.clean),
            ("degraded", task.baseline_image(pair.degraded)),
        ):
            path = patch_path(shared_folder / kind, test_set, pair.name)
            if not is_whole(path):
                _write(path, image, top, left)

    return look


def patch_path(folder: Path, test_set: str, photograph: str) -> Path:
    """Where a crop is, whatever letters its names have."""
    return folder / _file_name(test_set) / f"{_file_name(photograph)}.png"


def is_whole(path: Path) -> bool:
    """Whether a crop is there and whole; a damaged one is set aside."""
    if not atomic.is_there(path):
        return False
    png = atomic.read(path)
    if png == _sealed(png[: -SEAL_BYTES - len(END)] + png[-len(END) :]):
        return True
    atomic.set_aside(path, "its checksum does not agree with its content", "left out")
    return False


def _sealed(png: bytes) -> bytes:
    """The same picture with the checksum of its bytes before its end."""
    chunk = TEXT + NAME + checksum(png).encode()
    size, control = (
        number.to_bytes(4, "big") for number in (len(chunk) - len(TEXT), zlib.crc32(chunk))
    )
    return png[: -len(END)] + size + chunk + control + png[-len(END) :]


def _file_name(name: str) -> str:
    """The name itself where it is short and plain, else as much of it as a file name takes, and a checksum."""
    quoted = quote(name, safe="")
    quoted = (
        quoted if quoted.strip(".") else f"%2E{quoted[1:]}"
    )  # neither the folder nor the one above
    return (
        quoted
        if len(quoted) <= LONGEST_NAME
        else f"{quoted[:LONGEST_NAME]}-{checksum(name.encode())[:16]}"
    )


def most_detailed(clean: Tensor) -> tuple[int, int]:
    """Top and left of the square with the most detail of a photograph (C, H, W)."""
    grey = clean.float().mean(0)
    detail = torch.zeros_like(grey)
    detail[1:] += grey.diff(dim=0).abs()
    detail[:, 1:] += grey.diff(dim=1).abs()
    side = (min(SIDE, grey.shape[0]), min(SIDE, grey.shape[1]))
    sums = functional.avg_pool2d(
        detail[None], side, stride=(max(1, side[0] // 2), max(1, side[1] // 2))
    )[0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return row * max(1, side[0] // 2), column * max(1, side[1] // 2)


def _write(path: Path, image: Tensor, top: int, left: int) -> None:
    from PIL import Image

    crop = (
        image[:, top : top + SIDE, left : left + SIDE].clamp(0, 1).mul(255).round().to(torch.uint8)
    )
    content = io.BytesIO()
    Image.fromarray(crop.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()).save(
        content, "PNG"
    )
    atomic.write(path, _sealed(content.getvalue()))

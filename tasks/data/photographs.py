"""Reading of one photograph from a file into an RGB tensor (3, H, W); an adapter to Pillow.

A tensor keeps the precision of its file: uint8 for 8-bit files (a quarter of the memory of
float32), float32 in [0, 1] for 16-bit grey files; `to_float` converts both to float32 in [0, 1].
Grey is repeated to three channels, palettes are looked up, transparency is dropped. Of 16-bit
colour files Pillow keeps the upper 8 bits. A photograph that carries an EXIF orientation is turned
as viewers show it. Only FORMATS are read, whatever the suffix of a file: for some other formats
Pillow starts programs of the system. The size is checked before anything is decoded.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import ConfigError

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000")
MAX_SIDE = 2**15
MAX_PIXELS = 2**27  # 134 megapixels: 0.9 GB while a PNG is decoded, then 0.4 GB
STRIP_PIXELS = 2**20  # that are converted at a time
ANIMATED_FORMATS = ("PNG", "WEBP", "GIF")  # a JPEG or TIFF may hold previews, which is fine
SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
ORIENTATION = 0x0112  # EXIF tag
# Orientation -> whether rows and columns change places, and the axes (C, H, W) then reversed.
TURNS: Mapping[Any, tuple[bool, tuple[int, ...]]] = {
    2: (False, (2,)),
    3: (False, (1, 2)),
    4: (False, (1,)),
    5: (True, ()),
    6: (True, (2,)),
    7: (True, (1, 2)),
    8: (True, (1,)),
}
TURNED: set[Path] = set()  # files that were turned when they were last read


def to_float(image: Tensor) -> Tensor:
    """Convert an image of any shape, uint8 or float32 in [0, 1], to float32 in [0, 1]."""
    return image.to(torch.float32).div_(255) if image.dtype == torch.uint8 else image


def read_photograph(path: Path) -> Tensor:
    """Read and decode the photograph in `path`.

    Returns:
        (3, H, W), uint8 or float32 in [0, 1].

    Raises:
        ConfigError: the file cannot be read, is no image, is truncated or corrupt, or holds
            floating-point values.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of large images; only the pixels matter here.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                check_pixels(*image.size, path)
                if image.format in ANIMATED_FORMATS and getattr(image, "is_animated", False):
                    raise ConfigError(
                        f"{path} holds several pictures, and a photograph must be one; "
                        "replace or remove it"
                    )
                image.load()
                orientation = _find_orientation(image)
                pixels = _to_rgb(image, path)
        return _turn(pixels, orientation, path)
    except ConfigError:
        raise
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise ConfigError(
            f"{path} cannot be read as an image ({_format_error(error, path)}); "
            "replace or remove it"
        ) from error


def check_pixels(width: int, height: int, path: Path) -> None:
    """Raise ConfigError if a photograph would take too much memory."""
    if not 0 < max(width, height) <= MAX_SIDE or width * height > MAX_PIXELS:
        raise ConfigError(
            f"{path} has {width} x {height} pixels; at most {MAX_SIDE} a side and {MAX_PIXELS} "
            "in all are read: crop or remove it"
        )


def _to_rgb(image: Any, path: Path) -> Tensor:
    """Convert a decoded Pillow image to (3, H, W), uint8 or float32 in [0, 1]."""
    import numpy

    if image.mode == "F":
        raise ConfigError(
            f"{path} holds floating-point values, whose range is not known; "
            "save it with 8 or 16 bits per channel"
        )
    if image.mode in SIXTEEN_BIT_MODES:
        levels = numpy.asarray(image).astype(numpy.float32)
        if levels.min() < 0 or levels.max() > 65535:
            raise ConfigError(
                f"{path} holds values outside 0 ... 65535; save it with 8 or 16 bits per channel"
            )
        levels /= numpy.float32(65535)
        return torch.from_numpy(levels).expand(3, -1, -1)
    pixels = torch.empty((3, image.height, image.width), dtype=torch.uint8)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGB")
        pixels[:, top : top + rows] = torch.from_numpy(numpy.array(strip)).permute(2, 0, 1)
    return pixels


def _find_orientation(image: Any) -> Any:
    """Return the EXIF orientation of a decoded Pillow image; 1 if it has none that can be read."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata: any error of a parser
        return 1


def _turn(pixels: Tensor, orientation: Any, path: Path) -> Tensor:
    """Return an image (3, H, W) as its orientation says that it is to be shown."""
    TURNED.discard(path)
    if orientation not in TURNS:
        return pixels
    TURNED.add(path)
    is_transposed, reversed_axes = TURNS[orientation]
    pixels = pixels.transpose(1, 2) if is_transposed else pixels
    return pixels.flip(reversed_axes).contiguous()


def _format_error(error: Exception, path: Path) -> str:
    """Return the decoder's message in one line, without the path."""
    text = " ".join(str(error).replace(repr(str(path)), "the file").split())
    return text or type(error).__name__

"""One photograph: a file, or a tensor (3, H, W) in RGB.

A tensor keeps the precision of its file: uint8 for 8-bit files (a quarter of the memory of
float32), float32 in [0, 1] for 16-bit grey ones; `as_float` gives float32 in [0, 1] of either. Grey
is repeated to three channels, palettes are looked up, transparency is dropped. Pillow is the door
to image files; it keeps the upper 8 bits of 16-bit colour files. Only FORMATS are read, whatever
the name of a file ends in: Pillow hands some others to programs of the system. Nothing is decoded
before its size is known.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import ConfigError

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000")
LONGEST_SIDE, MOST_PIXELS = 2**15, 2**27  # a photograph of 134 megapixels takes 400 MB
ANIMATED = ("PNG", "WEBP", "GIF")  # those of JPEG and TIFF are small views of the same photograph
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def as_float(image: Tensor) -> Tensor:
    """float32 in [0, 1] of an image of any shape that is uint8 or float32 in [0, 1] already."""
    return image.to(torch.float32).div_(255) if image.dtype == torch.uint8 else image


def read_photograph(path: Path) -> Tensor:
    """The photograph in `path`, fully decoded, (3, H, W), uint8 or float32 in [0, 1].

    Raises:
        ConfigError: the file cannot be read, is no image, is cut short or corrupt, or holds
            floating-point values.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():  # Pillow warns of odd metadata and of large images; what matters is whether the pixels decode
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                check_pixels(*image.size, path)
                if image.format in ANIMATED and getattr(image, "is_animated", False):
                    raise ConfigError(
                        f"{path} holds several pictures; a photograph is one: replace or remove it"
                    )
                image.load()
                return _rgb(image, path)
    except ConfigError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and others
        raise ConfigError(
            f"{path} cannot be read as an image ({_one_line(error, path)}); replace or remove it"
        ) from error


def check_pixels(width: int, height: int, path: Path) -> None:
    """Raises ConfigError for a photograph that would take too much memory."""
    if not 0 < max(width, height) <= LONGEST_SIDE or width * height > MOST_PIXELS:
        raise ConfigError(
            f"{path} has {width} x {height} pixels; at most {LONGEST_SIDE} a side and {MOST_PIXELS} in all are read: crop or remove it"
        )


def _rgb(image: Any, path: Path) -> Tensor:
    """(3, H, W) of a decoded Pillow image."""
    import numpy

    if image.mode == "F":
        raise ConfigError(
            f"{path} holds floating-point values, whose range is not known; save it with 8 or 16 bits per channel"
        )
    if image.mode in SIXTEEN_BIT:
        levels = numpy.asarray(image).astype(numpy.float32)
        if levels.min() < 0 or levels.max() > 65535:
            raise ConfigError(
                f"{path} holds values outside 0 ... 65535; save it with 8 or 16 bits per channel"
            )
        return torch.from_numpy(levels / numpy.float32(65535)).expand(3, -1, -1)
    return torch.from_numpy(numpy.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def _one_line(error: Exception, path: Path) -> str:
    """The decoder's own words, without the path that the message names already."""
    words = " ".join(str(error).replace(repr(str(path)), "the file").split())
    return words or type(error).__name__

"""The restored photographs of the page as WebP: whole ones, and crops of them without loss.

A whole photograph is compressed at QUALITY: at 384x384 it takes about 30 kB instead of 180, and the
crops show each pixel as it was restored.
"""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.records import Record
from bench.report.crops_figure import View, collect_views
from bench.study.store import Store

MAX_CHARACTERS = 3_300_000  # of all pictures of a page, as text
QUALITY = 90


def select_views(store: Store, records: Sequence[Record]) -> list[View]:
    """Return whole photographs, then crops; those that fewer records have come last.

    Records of a program that stored crops alone have no whole photographs.
    """
    views = collect_views(store, records, whole=True) + collect_views(store, records)
    return sorted(views, key=lambda view: -len(view.tiles))


def encode_views(views: Sequence[View], room: int) -> list[dict[str, Any]]:
    """Return photographs as data URLs: name, width / height, whether it is whole, and tiles.

    Those that do not fit into what is left of `room`, in characters, are left out.

    Raises:
        ConfigError: a picture cannot be read.
    """
    encoded = []
    for view in views:
        pictures = [_encode_picture(tile.path, view.is_whole) for tile in view.tiles]
        needed = sum(len(address) for address, _ in pictures)
        if needed > room:
            continue
        room -= needed
        tiles = [
            {
                "label": tile.label,
                "ratio": format_ratio(tile.ratio),
                "scores": tile.scores,
                "image": address,
            }
            for tile, (address, _) in zip(view.tiles, pictures, strict=True)
        ]
        name = f"{view.test_set}: {view.photograph}{'' if view.is_whole else ', detail'}"
        aspect = pictures[0][1]
        encoded.append({"name": name, "aspect": aspect, "whole": view.is_whole, "tiles": tiles})
    return encoded


def format_ratio(ratio: float | None) -> str:
    """Return a ratio as the controls of the page name it; "" for what is shown at every ratio."""
    return "" if ratio in (None, 1.0) else f"{ratio:g}"


def _encode_picture(path: Path, is_whole: bool) -> tuple[str, float]:
    """Return a picture as a data URL, and its width / height."""
    from PIL import Image

    content = BytesIO()
    try:
        with Image.open(path) as image:
            image.save(content, "WEBP", lossless=not is_whole, quality=QUALITY, method=1)
            aspect = image.width / image.height
    except (OSError, SyntaxError, ValueError) as error:  # that decoders raise
        raise ConfigError(f"{path} cannot be read as a crop ({error}); remove it") from error
    return f"data:image/webp;base64,{b64encode(content.getvalue()).decode()}", aspect

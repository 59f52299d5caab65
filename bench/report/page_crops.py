"""The crops of the page as WebP, without loss, so that what is compared is what was restored."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.report.crops_figure import View

MAX_CHARACTERS = 2_900_000  # of all crops of a page, as text


def encode_views(views: Sequence[View], room: int) -> list[dict[str, Any]]:
    """Return photographs with their crops as data URLs: name and tiles.

    Photographs that do not fit into `room`, in characters, are left out.

    Raises:
        ConfigError: a crop cannot be read.
    """
    encoded = []
    for view in views:
        tiles = [
            {
                "label": tile.label,
                "ratio": format_ratio(tile.ratio),
                "scores": tile.scores,
                "image": _encode_crop(tile.path),
            }
            for tile in view.tiles
        ]
        room -= sum(len(str(tile["image"])) for tile in tiles)
        if room < 0:
            break
        encoded.append({"name": f"{view.test_set}: {view.photograph}", "tiles": tiles})
    return encoded


def format_ratio(ratio: float | None) -> str:
    """Return a ratio as the controls of the page name it; "" for what is shown at every ratio."""
    return "" if ratio in (None, 1.0) else f"{ratio:g}"


def _encode_crop(path: Path) -> str:
    """Return a crop as a data URL."""
    from PIL import Image

    content = BytesIO()
    try:
        with Image.open(path) as image:
            image.save(content, "WEBP", lossless=True, method=1)
    except (OSError, SyntaxError, ValueError) as error:  # that decoders raise
        raise ConfigError(f"{path} cannot be read as a crop ({error}); remove it") from error
    return f"data:image/webp;base64,{b64encode(content.getvalue()).decode()}"

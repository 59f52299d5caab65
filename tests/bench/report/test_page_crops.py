"""The crops of the page."""

import io
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import ConfigError
from bench.report.crops_figure import Tile, View, collect_views
from bench.report.page_crops import encode_views
from tests.bench.report.stored import PHOTO, make_store


def test_crops_have_the_scores_of_their_photograph(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (view,) = encode_views(collect_views(store, store.records()), 10**6)
    clean, degraded, unpruned, pruned = view["tiles"][:4]
    assert view["name"].endswith(PHOTO)
    assert [tile["label"] for tile in (clean, degraded, unpruned)] == [
        "clean",
        "degraded",
        "unpruned",
    ]
    assert unpruned["scores"] == "29.93 / 0.8998"
    assert (unpruned["ratio"], pruned["ratio"]) == ("", "0.25")


def test_no_pixel_of_a_crop_changes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "crop.png")
    (view,) = encode_views([make_view(tmp_path / "crop.png")], 10**6)
    kind, _, text = view["tiles"][0]["image"].partition(",")
    assert kind == "data:image/webp;base64"
    assert (np.asarray(Image.open(io.BytesIO(b64decode(text)))) == pixels).all()


def test_photographs_beyond_the_room_are_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "crop.png")
    views = [make_view(tmp_path / "crop.png")] * 3
    size = len(encode_views(views[:1], 10**6)[0]["tiles"][0]["image"])
    assert len(encode_views(views, 2 * size)) == 2


def test_a_crop_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "crop.png").write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match=r"crop\.png cannot be read as a crop .*; remove it"):
        encode_views([make_view(tmp_path / "crop.png")], 10**6)


def make_view(path: Path) -> View:
    """Make a view of one crop."""
    return View("title", "set", "photo", [Tile("clean", None, path, "")])

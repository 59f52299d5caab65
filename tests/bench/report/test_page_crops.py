"""The restored photographs of the page, whole and in detail."""

import io
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import ConfigError
from bench.report.crops_figure import Tile, View, collect_views
from bench.report.page_crops import encode_views, select_views
from tests.bench.report.stored import PHOTO, make_store


def test_crops_have_the_scores_of_their_photograph(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (view,) = encode_views(collect_views(store, store.records()), 10**6)
    clean, degraded, unpruned, pruned = view["tiles"][:4]
    assert view["name"] == f"photos: {PHOTO}, detail"
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
    (crop, whole) = encode_views(
        [make_view(tmp_path / "crop.png"), make_view(tmp_path / "crop.png", is_whole=True)], 10**6
    )
    assert (decode(crop) == pixels).all()
    assert decode(whole).shape == pixels.shape and (decode(whole) != pixels).any()


def test_whole_photographs_come_first_and_crops_are_named_details(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    views = encode_views(select_views(store, store.records()), 10**6)
    assert [(view["name"].partition(PHOTO)[2], view["aspect"]) for view in views] == [
        ("", 120 / 60),
        (", detail", 96 / 60),
    ]


def test_a_photograph_that_fewer_rows_have_comes_last(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    records = store.records()
    for record in records[:3]:  # of a program that stored crops alone
        shutil.rmtree(store.crop_folders(record.cell)[0] / "photos" / "whole")
    assert [view.is_whole for view in select_views(store, records)] == [False, True]
    assert [view.is_whole for view in select_views(store, records[:3])] == [False]


def test_photographs_beyond_the_room_are_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "crop.png")
    Image.effect_noise((32, 32), 99).convert("RGB").save(tmp_path / "large.png")
    large, small = make_view(tmp_path / "large.png"), make_view(tmp_path / "crop.png")
    room = 2 * len(encode_views([small], 10**6)[0]["tiles"][0]["image"])
    views = encode_views([large, small, small, small], room)
    assert [view["aspect"] for view in views] == [1, 1] and decode(views[0]).shape == (8, 8, 3)


def test_a_crop_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "crop.png").write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match=r"crop\.png cannot be read as a crop .*; remove it"):
        encode_views([make_view(tmp_path / "crop.png")], 10**6)


def make_view(path: Path, is_whole: bool = False) -> View:
    """Make a view of one picture."""
    return View("title", "set", "photo", [Tile("clean", None, path, "")], is_whole)


def decode(view: dict[str, Any]) -> Any:
    """Return the pixels of the first tile."""
    kind, _, text = view["tiles"][0]["image"].partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(b64decode(text))))

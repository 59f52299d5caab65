"""The comparison of crops: which are shown, in which order, with which figures."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench.errors import ConfigError
from bench.report.visual import draw, smallest_ratio, views
from tests.bench.report.stored import PHOTO, SET, stored
from tests.bench.report.synthetic import study_records


def test_the_printed_figure_shows_the_smallest_ratio_and_one_seed(tmp_path: Path) -> None:
    chosen = smallest_ratio(stored(tmp_path, seeds=(0, 1)).records())
    assert [(record.cell.label, record.cell.ratio, record.cell.seed) for record in chosen] == [
        ("unpruned", 1.0, 0),
        ("uniform, from scratch", 0.25, 0),
        ("uniform, sliced", 0.25, 0),
        ("mosp", 0.25, 0),
    ]


def test_a_seed_that_failed_is_replaced_by_the_next(tmp_path: Path) -> None:
    records = stored(tmp_path, seeds=(0, 1)).records()
    broken = [
        replace(record, status="failed")
        if (record.cell.label, record.cell.seed) == ("mosp", 0)
        else record
        for record in records
    ]
    assert ("mosp", 0.25, 1) in [
        (record.cell.label, record.cell.ratio, record.cell.seed)
        for record in smallest_ratio(broken)
    ]


def test_clean_and_degraded_come_first_and_figures_are_of_the_photograph(tmp_path: Path) -> None:
    store = stored(tmp_path)
    (view,) = views(store, smallest_ratio(store.records()))
    assert [tile.name for tile in view.tiles] == [
        "clean",
        "degraded",
        "unpruned",
        "uniform, from scratch, ratio 0.25",
        "uniform, sliced, ratio 0.25",
        "mosp, ratio 0.25",
    ]
    assert view.tiles[-1].figures == "28.58 / 0.8953" and (view.test_set, view.photograph) == (
        SET,
        PHOTO,
    )


def test_a_crop_that_is_lost_is_left_out(tmp_path: Path) -> None:
    store = stored(tmp_path)
    views(store, store.records())[0].tiles[2].path.unlink()
    assert "unpruned" not in [tile.name for tile in views(store, store.records())[0].tiles]


def test_without_crops_there_is_nothing_to_show(tmp_path: Path) -> None:
    store = stored(tmp_path, pending=10)
    with pytest.raises(ConfigError, match="no crops of restored photographs"):
        draw(store, study_records(), tmp_path / "visual.png")


def test_every_tile_is_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    store = stored(tmp_path)
    draw(store, store.records(), tmp_path / "visual.png")
    (part,) = figures[0].subfigs
    shown = [axes for axes in part.axes if axes.images]
    assert [axes.texts[0].get_text().splitlines()[0] for axes in shown][:3] == [
        "clean",
        "degraded",
        "unpruned",
    ] and len(shown) == 6
    assert (
        float(shown[2].images[0].get_array().min()) == 1.0
    )  # the crop of the unpruned network is white by construction

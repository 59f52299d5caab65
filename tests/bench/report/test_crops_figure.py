"""The comparison of crops: their selection, their order and their scores."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench.errors import ConfigError
from bench.report.crops_figure import collect_views, draw, select_smallest_ratio
from bench.report.results import collect_results, read_results
from tests.bench.report.stored import PHOTO, SET, make_store
from tests.bench.report.synthetic import study_records


def test_the_printed_figure_shows_the_smallest_ratio_and_one_seed(tmp_path: Path) -> None:
    selected = select_smallest_ratio(make_store(tmp_path, seeds=(0, 1)).records())
    assert [(record.cell.label, record.cell.ratio, record.cell.seed) for record in selected] == [
        ("unpruned", 1.0, 0),
        ("uniform, from scratch", 0.25, 0),
        ("uniform, sliced", 0.25, 0),
        ("mosp", 0.25, 0),
    ]


def test_a_seed_that_failed_is_replaced_by_the_next(tmp_path: Path) -> None:
    records = make_store(tmp_path, seeds=(0, 1)).records()
    broken = [
        replace(record, status="failed")
        if (record.cell.label, record.cell.seed) == ("mosp", 0)
        else record
        for record in records
    ]
    assert ("mosp", 0.25, 1) in [
        (record.cell.label, record.cell.ratio, record.cell.seed)
        for record in select_smallest_ratio(broken)
    ]


def test_clean_and_degraded_come_first_and_scores_are_of_the_photograph(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (view,) = collect_views(store, select_smallest_ratio(store.records()))
    assert [tile.name for tile in view.tiles] == [
        "clean",
        "degraded",
        "unpruned",
        "uniform, from scratch, ratio 0.25",
        "uniform, sliced, ratio 0.25",
        "mosp, ratio 0.25",
    ]
    assert view.tiles[-1].scores == "28.58 / 0.8953"
    assert (view.test_set, view.photograph) == (SET, PHOTO)


def test_a_crop_that_is_lost_is_left_out(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (view,) = collect_views(store, store.records())
    view.tiles[2].path.unlink()
    (view,) = collect_views(store, store.records())
    assert "unpruned" not in [tile.name for tile in view.tiles]


def test_without_crops_there_is_nothing_to_show(tmp_path: Path) -> None:
    store = make_store(tmp_path, pending=10)
    with pytest.raises(ConfigError, match="no crops of restored photographs"):
        draw(store, collect_results(study_records()), tmp_path / "visual.png")


def test_every_tile_is_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    store = make_store(tmp_path)
    draw(store, read_results(store), tmp_path / "visual.png")
    (part,) = figures[0].subfigs
    tiles = [axes for axes in part.axes if axes.images]
    labels = [axes.texts[0].get_text().splitlines()[0] for axes in tiles]
    assert labels[:3] == ["clean", "degraded", "unpruned"] and len(labels) == 6
    # The crop of the unpruned network is white by construction.
    assert float(tiles[2].images[0].get_array().min()) == 1.0

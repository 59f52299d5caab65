"""The pruning pattern: what is drawn is what the records say."""

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.records import Record
from bench.report.pattern import draw, panels
from tests.bench.report.synthetic import cell, record, refused

FULL = {"a": 8, "skip": 8, "b": 16}


def cut(label: str, a: int, b: int, seed: int = 0, ratio: float = 0.5, **skip: int) -> Record:
    before = {unit: whole for unit, whole in FULL.items() if unit != "skip" or skip}
    return record(
        cell(label, ratio, seed),
        widths={"a": a, **skip, "b": b},
        trace=({"peak_bytes": 1, "widths": before, "note": ""},),
    )


def test_a_share_is_of_the_channels_before_pruning_and_the_mean_over_seeds() -> None:
    unpruned = record(cell("unpruned", 1.0), widths={"a": 8, "b": 16})
    (panel,) = panels(
        [
            unpruned,
            cut("mosp", 2, 16, skip=4),
            cut("mosp", 4, 8, seed=1, skip=4),
            cut("uniform", 4, 8),
        ]
    )
    assert panel.units == ["a", "skip", "b"]
    assert panel.shares == {
        "mosp": {"a": 0.375, "skip": 0.5, "b": 0.75},
        "uniform": {"a": 0.5, "b": 0.5},
    }


def test_each_ratio_has_a_panel_the_largest_first() -> None:
    records = [
        cut("mosp", 2, 4, ratio=0.25),
        cut("mosp", 6, 12, ratio=0.75),
        refused(cell("uniform", 0.25), "infeasible", "too small"),
    ]
    first, second = panels(records)
    assert (
        ", ratio 0.75: share of the channels" in first.title
        and ", ratio 0.25: share of the channels" in second.title
    )
    assert list(first.shares) == list(second.shares) == ["mosp"]


def test_the_drawing_names_rows_and_units_and_is_reproducible(tmp_path: Path) -> None:
    records = [cut("mosp", 2, 16, skip=4), cut("uniform", 4, 8)]
    first, second = (draw(records, tmp_path / f"{name}.svg").read_text("utf-8") for name in "ab")
    assert first == second
    for text in ("mosp", "uniform", "skip", "kept", "ratio 0.5"):
        assert text in first


def test_nothing_to_draw_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished record of a pruned network"):
        draw([record(cell("unpruned", 1.0))], tmp_path / "pattern.png")

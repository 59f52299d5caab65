"""The pruning pattern: what is drawn is what the records say."""

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.records import Record
from bench.report.pattern import build_panels, draw
from bench.report.results import collect_results
from tests.bench.report.synthetic import cell, record, unfinished_record

FULL = {"a": 8, "skip": 8, "b": 16}


def pruned_record(
    label: str, a: int, b: int, seed: int = 0, ratio: float = 0.5, **skip: int
) -> Record:
    before = {unit: whole for unit, whole in FULL.items() if unit != "skip" or skip}
    return record(
        cell(label, ratio, seed),
        widths={"a": a, **skip, "b": b},
        trace=({"peak_bytes": 1, "widths": before, "note": ""},),
    )


def test_a_share_is_of_the_channels_before_pruning_and_the_mean_over_seeds() -> None:
    unpruned = record(cell("unpruned", 1.0), widths={"a": 8, "b": 16})
    records = [
        unpruned,
        pruned_record("mosp", 2, 16, skip=4),
        pruned_record("mosp", 4, 8, seed=1, skip=4),
        pruned_record("uniform", 4, 8),
    ]
    (panel,) = build_panels(collect_results(records))
    assert panel.units == ["a", "skip", "b"]
    assert panel.shares == {
        "mosp": {"a": 0.375, "skip": 0.5, "b": 0.75},
        "uniform": {"a": 0.5, "b": 0.5},
    }


def test_each_ratio_has_a_panel_the_largest_first() -> None:
    records = [
        pruned_record("mosp", 2, 4, ratio=0.25),
        pruned_record("mosp", 6, 12, ratio=0.75),
        unfinished_record(cell("uniform", 0.25), "infeasible", "too small"),
    ]
    first, second = build_panels(collect_results(records))
    assert (
        ", ratio 0.75: share of the channels" in first.title
        and ", ratio 0.25: share of the channels" in second.title
    )
    assert list(first.shares) == list(second.shares) == ["mosp"]


def test_the_drawing_names_rows_and_units_and_is_reproducible(tmp_path: Path) -> None:
    records = [pruned_record("mosp", 2, 16, skip=4), pruned_record("uniform", 4, 8)]
    results = collect_results(records)
    first, second = (draw(results, tmp_path / f"{name}.svg").read_text("utf-8") for name in "ab")
    assert first == second
    for text in ("mosp", "uniform", "skip", "kept", "ratio 0.5"):
        assert text in first


def test_nothing_to_draw_is_a_clear_error(tmp_path: Path) -> None:
    results = collect_results([record(cell("unpruned", 1.0))])
    with pytest.raises(ConfigError, match="no finished record of a pruned network"):
        draw(results, tmp_path / "pattern.png")

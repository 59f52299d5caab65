"""The figure of the ranks: who is drawn, in which order, and which rows a bar joins."""

from pathlib import Path

import numpy
import pytest
from matplotlib.figure import Figure

from bench.errors import ConfigError
from bench.report.rank_figure import build_panels, draw
from bench.report.results import RunResults, collect_results
from tests.bench.report.synthetic import cell, record, scored_record


def make_results(reference: str = "mosp") -> RunResults:
    """Make three rows: one is better than MOSP, one is level with it."""
    random = numpy.random.default_rng(0)
    gains = {"a very long label of a row that is level": 0.0, reference: 0.0, "better": 2.0}
    return collect_results(
        [
            scored_record(label, gain + random.normal(0, 0.05, 12), seed)
            for label, gain in gains.items()
            for seed in range(3)
        ]
    )


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_best_row_is_on_top_and_each_has_point_and_interval(
    figures: list[Figure], tmp_path: Path
) -> None:
    draw(make_results(), tmp_path / "ranks.png")
    (axes,) = figures[0].axes
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels[0] == "better" and sorted(labels)[0].endswith("…")
    assert axes.get_title() == "ratio 0.5" and axes.yaxis_inverted()
    bars = [line for line in axes.lines if line.get_linewidth() == 3.5]
    assert len(axes.lines) == 6 + len(bars)
    assert [tuple(bar.get_ydata()) for bar in bars] == [(-0.5, 0.5), (0.5, 1.5), (1.5, 2.5)]


def test_the_legend_names_what_occurs(figures: list[Figure], tmp_path: Path) -> None:
    draw(make_results(), tmp_path / "ranks.png")
    draw(make_results("other"), tmp_path / "ranks.png")
    with_mosp, without = map(legend_of, figures)
    assert "better than MOSP" in with_mosp and "bar: level with MOSP" in with_mosp
    assert without == ["bar: none is measurably better"]


def test_rows_without_an_interval_are_not_drawn(tmp_path: Path) -> None:
    results = collect_results([record(cell())])
    assert build_panels(results) == []
    with pytest.raises(ConfigError, match="it takes 3 seeds and 10 scenes"):
        draw(results, tmp_path / "ranks.png")


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    first, second = (draw(make_results(), tmp_path / f"{name}.svg") for name in "ab")
    assert first.read_bytes() == second.read_bytes()

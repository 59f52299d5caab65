"""The figures of the page show the numbers of the records."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.report import curve, interactive, pattern
from bench.report.results import collect_results, read_results
from bench.units import mib
from tests.bench.report.stored import make_store
from tests.bench.report.synthetic import cell, record


def traces(fragment: str) -> list[dict[str, Any]]:
    """Return the data that an HTML fragment passes to plotly."""
    text = fragment[fragment.index("Plotly.newPlot(") :]
    data, _ = json.JSONDecoder().raw_decode(text[text.index("[") :])
    return list(data)


def test_a_line_of_the_curve_is_peak_and_psnr_of_its_rows(tmp_path: Path) -> None:
    (panel,) = curve.select_panels(read_results(make_store(tmp_path)))
    drawn = {trace["name"]: trace for trace in traces(interactive.render_curve(panel, "div"))}
    points = [row for row in panel if row["label"] == "mosp"]
    assert drawn["mosp"]["x"] == sorted(mib(row["peak_bytes"]) for row in points)
    assert drawn["mosp"]["y"] == sorted(row["psnr_db"] for row in points)
    assert drawn["Pareto front"]["y"] == drawn["mosp"]["y"]  # mosp is better than unpruned here
    assert "<b>mosp</b>, ratio 0.25<br>28.58 dB" in drawn["mosp"]["customdata"][0]


def test_a_line_of_the_memory_is_the_bytes_of_every_step(tmp_path: Path) -> None:
    records = make_store(tmp_path).records()
    drawn = traces(interactive.render_timelines(records, "div"))
    unpruned = next(record for record in records if record.cell.ratio == 1)
    assert drawn[0]["y"] == [mib(step["bytes"]) for step in unpruned.timeline]
    assert [trace["visible"] for trace in drawn] == [True, *[True] * 3, *[False] * 6]


def test_the_pattern_is_the_share_of_each_unit(tmp_path: Path) -> None:
    results = read_results(make_store(tmp_path))
    panels = {panel.ratio: panel for panel in pattern.build_panels(results)}
    drawn = traces(interactive.render_pattern(panels, "div"))
    assert drawn[0]["z"] == [[0.75]] * 3
    assert drawn[2]["z"] == [[0.25]] * 3
    assert drawn[0]["x"] == ["first"]


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_bars_are_drawn_only_for_three_seeds_or_more(
    tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    (panel,) = curve.select_panels(read_results(make_store(tmp_path, seeds)))
    drawn = {trace["name"]: trace for trace in traces(interactive.render_curve(panel, "div"))}
    assert drawn["mosp"]["error_y"]["visible"] is (len(seeds) > 2)
    assert (" ± " in drawn["mosp"]["customdata"][0]) is (len(seeds) > 2)


def test_a_label_with_signs_is_shown_as_it_is(tmp_path: Path) -> None:
    records = [record(cell("unpruned", 1.0)), record(cell("keep<0.5 & more", 0.5))]
    (panel,) = curve.select_panels(collect_results(records))
    last = traces(interactive.render_curve(panel, "div"))[-1]
    assert last["name"] == "keep&lt;0.5 &amp; more"
    assert "<b>keep&lt;0.5 &amp; more</b>" in last["customdata"][0]

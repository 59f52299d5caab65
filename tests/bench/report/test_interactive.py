"""The figures of the page: what plotly draws is what the records say."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.report import curve, interactive, pattern
from bench.units import mib
from tests.bench.report.stored import stored
from tests.bench.report.synthetic import cell, record


def traces(fragment: str) -> list[dict[str, Any]]:
    """The data that a fragment hands to plotly."""
    text = fragment[fragment.index("Plotly.newPlot(") :]
    found, _ = json.JSONDecoder().raw_decode(text[text.index("[") :])
    return list(found)


def test_a_line_of_the_curve_is_peak_and_psnr_of_its_rows(tmp_path: Path) -> None:
    (panel,) = curve.panels(stored(tmp_path).records())
    drawn = {trace["name"]: trace for trace in traces(interactive.curve(panel, "here"))}
    points = [row for row in panel if row["label"] == "mosp"]
    assert drawn["mosp"]["x"] == sorted(mib(row["peak_bytes"]) for row in points)
    assert drawn["mosp"]["y"] == sorted(row["psnr_db"] for row in points)
    assert (
        drawn["Pareto front"]["y"] == drawn["mosp"]["y"]
    )  # which beats even the unpruned network here
    assert "<b>mosp</b>, ratio 0.25<br>28.58 dB" in drawn["mosp"]["customdata"][0]


def test_a_line_of_the_memory_is_the_bytes_of_every_step(tmp_path: Path) -> None:
    records = stored(tmp_path).records()
    drawn = traces(interactive.timelines(records, "here"))
    unpruned = next(record for record in records if record.cell.ratio == 1)
    assert drawn[0]["y"] == [mib(step["bytes"]) for step in unpruned.timeline]
    assert [trace["visible"] for trace in drawn] == [True, *[True] * 3, *[False] * 6]


def test_the_pattern_is_the_share_of_each_unit(tmp_path: Path) -> None:
    panels = {panel.ratio: panel for panel in pattern.panels(stored(tmp_path).records())}
    drawn = traces(interactive.pattern(panels, "here"))
    assert (
        drawn[0]["z"] == [[0.75]] * 3
        and drawn[2]["z"] == [[0.25]] * 3
        and drawn[0]["x"] == ["first"]
    )


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_bars_are_drawn_only_for_several_seeds(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    (panel,) = curve.panels(stored(tmp_path, seeds).records())
    drawn = {trace["name"]: trace for trace in traces(interactive.curve(panel, "here"))}
    assert drawn["mosp"]["error_y"]["visible"] is (len(seeds) > 1)
    assert (" ± " in drawn["mosp"]["customdata"][0]) is (len(seeds) > 1)


def test_a_label_with_signs_is_shown_as_it_is(tmp_path: Path) -> None:
    records = [record(cell("unpruned", 1.0)), record(cell("keep<0.5 & more", 0.5))]
    drawn = traces(interactive.curve(curve.panels(records)[0], "here"))
    assert (
        drawn[-1]["name"] == "keep&lt;0.5 &amp; more"
        and "<b>keep&lt;0.5 &amp; more</b>" in drawn[-1]["customdata"][0]
    )

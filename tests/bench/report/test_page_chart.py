"""The charts of the page: where points and names stand."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from bench.report.axes import LOGARITHMIC, quality_axis
from bench.report.page_chart import (
    NAME_HEIGHT,
    NARROW,
    Chart,
    Line,
    Point,
    lay_out,
    marker_id,
    marker_paths,
)
from bench.report.style import label_styles


def make_chart(values: dict[str, list[float]], **changes: Any) -> Chart:
    """Make a chart with a line for each label, whose points have x = 1, 2, ..."""
    styles = label_styles({label: label for label in values})
    lines = [
        Line(label, label, label, styles[label], [Point(x, y) for x, y in enumerate(ys, 1)])
        for label, ys in values.items()
    ]
    return Chart("title", "x", "y", lines, **changes)


def test_points_stand_in_proportion_to_their_values() -> None:
    (line,) = lay_out(make_chart({"dhp": [10, 20, 40]}), NARROW)["lines"]
    first, second, third = ((point["x"], point["y"]) for point in line["points"])
    assert second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.2)
    assert third[1] - second[1] == pytest.approx(2 * (second[1] - first[1]), abs=0.3)
    assert third[1] < first[1]  # more is higher on the screen


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis() -> None:
    layout = lay_out(make_chart({"dhp": [0.01, 0.1, 1]}, y_axis=LOGARITHMIC), NARROW)
    first, second, third = (point["y"] for point in layout["lines"][0]["points"])
    assert first - second == pytest.approx(second - third, abs=0.2)
    assert {"0.01", "0.1", "1"} <= {text for _, text in layout["y_ticks"]}


def test_names_of_lines_that_end_together_do_not_touch() -> None:
    layout = lay_out(make_chart({f"row {index}": [30.0] for index in range(40)}), NARROW)
    heights = sorted(line["name_y"] for line in layout["lines"])
    gaps = [b - a for a, b in pairwise(heights)]
    assert min(gaps) >= NAME_HEIGHT - 1 and heights[-1] <= layout["bottom"]


def test_a_long_name_is_shortened_for_a_phone_and_whole_in_its_text() -> None:
    label = "global L2, peak-aware, with a note"
    (line,) = lay_out(make_chart({label: [30.0]}), NARROW)["lines"]
    assert line["name"].endswith("\u2026") and line["label"] == label


def test_the_numbers_below_an_axis_do_not_touch() -> None:
    values = [float(value) for value in range(12500)]
    layout = lay_out(make_chart({"global L2, peak-aware": values}), NARROW)
    places = [place for place, text in layout["x_ticks"]]
    widest = 7 * max(len(text) for _, text in layout["x_ticks"])
    assert len(places) >= 3 and min(b - a for a, b in pairwise(places)) > widest


def test_all_points_and_columns_are_inside_the_axes() -> None:
    layout = lay_out(make_chart({"mosp": [5.0, 7.0]}, columns={9: "1"}), NARROW)
    places = [point["x"] for point in layout["lines"][0]["points"]] + [layout["columns"][0][0]]
    assert all(layout["left"] <= place <= layout["right"] for place in places)


def test_the_level_is_inside_the_axes() -> None:
    layout = lay_out(make_chart({"mosp": [5.0, 7.0]}, level=9.0), NARROW)
    assert layout["top"] <= layout["level"] < layout["lines"][0]["points"][-1]["y"]


def test_every_marker_has_an_outline() -> None:
    plugins = {f"plugin {index}": f"plugin {index}" for index in range(30)}
    styles = label_styles({"mosp": "mosp", "unpruned": "unpruned"} | plugins)
    paths = marker_paths()
    assert all(paths[marker_id(style["marker"])].startswith("M") for style in styles.values())


def test_rows_that_lost_the_picture_do_not_press_the_leading_rows_together() -> None:
    values = {"mosp": [30.0], "dhp": [29.5], "assl": [16.0]}
    layout = lay_out(make_chart(values, y_axis=quality_axis([30.0])), NARROW)
    mosp, dhp, assl = (line["points"][0]["y"] for line in layout["lines"])
    assert dhp - mosp > 0.15 * (assl - mosp)  # 4 % on a linear axis
    ticks = [float(text) for _, text in layout["y_ticks"]]
    assert 30.0 in ticks and ticks == sorted(ticks, reverse=True) and min(ticks) < 20


def test_an_interval_is_cut_at_the_ends_of_the_axis() -> None:
    chart = make_chart({"mosp": [30.0]})
    point = Point(1, 30.0, half=9.0)
    layout = lay_out(replace(chart, lines=[replace(chart.lines[0], points=[point])]), NARROW)
    assert layout["lines"][0]["points"][0]["bar"] == (layout["bottom"], layout["top"])

"""Colours and markers: one pair per method, the same in every figure and study."""

from itertools import combinations

from bench.plugins.registry import METHODS
from bench.report.style import METHOD_STYLES, label_styles

PLUGINS = [f"my_method_{index}" for index in range(10)]


def test_no_two_of_the_methods_and_ten_plugins_share_colour_and_marker() -> None:
    methods = [*METHOD_STYLES, "unpruned", *PLUGINS]
    styles = label_styles({method: method for method in methods})
    pairs = {(style["color"], style["marker"]) for style in styles.values()}
    assert len(pairs) == len(methods) == 21


def test_the_methods_of_the_paper_differ_in_colour_and_in_marker() -> None:
    for (first, mark), (second, other) in combinations(METHOD_STYLES.values(), 2):
        assert first != second and mark != other
    assert set(METHOD_STYLES) <= set(METHODS.names())


def test_a_method_looks_the_same_whatever_else_a_study_has() -> None:
    whole = label_styles({name: name for name in (*METHOD_STYLES, *PLUGINS[:3])})
    for name in ("dhp", "mosp", PLUGINS[1]):
        assert label_styles({name: name})[name] == whole[name]


def test_rows_of_one_method_keep_its_marker_and_differ_in_dash_and_shade() -> None:
    first, second = label_styles({"MOSP": "mosp", "MOSP, l2": "mosp"}).values()
    assert first["marker"] == second["marker"]
    assert first["linestyle"] != second["linestyle"] and first["color"] != second["color"]


def test_mosp_is_thicker_than_the_others_and_in_front_of_them() -> None:
    styles = label_styles({"MOSP": "mosp", "DHP": "dhp"})
    assert styles["MOSP"]["linewidth"] > styles["DHP"]["linewidth"]
    assert styles["MOSP"]["zorder"] > styles["DHP"]["zorder"]

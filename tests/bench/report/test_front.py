"""Rows in tiles or in fewer bits beside pruned ones, and the front of memory, time and quality."""

from dataclasses import replace

from bench.records import Record
from bench.report.curve import select_panels
from bench.report.front import find_front
from bench.report.headlines import describe_answers
from bench.report.page_curves import time_charts
from bench.report.page_memory import compare_memory
from bench.report.page_table import table_headers, table_lines
from bench.report.pivot import build_pivot
from bench.report.results import collect_results
from bench.report.style import label_styles
from bench.report.table import render_table
from tests.bench.report.synthetic import MIB, cell, record, scored_record

TILING = {"tile": [352, 1040], "count": 6, "is_exact": False, "buffer_bytes": 48 * MIB}


def timed(label: str, ratio: float, psnr_db: float, time: float) -> Record:
    """Make a record whose image takes `time` of the 2 s of the unpruned network."""
    plain = scored_record(label, [0.0] * 12, ratio=ratio)
    times = {"image_seconds": 2 * time, "unpruned_image_seconds": 2.0}
    return replace(plain, means={"psnr_db": psnr_db, "ssim": 0.9}, **times)


def tiled() -> Record:
    in_tiles = timed("unpruned", 0.5, 30.0, 1.2)
    run_options = {"tiles": True, "halo": 8}
    options = replace(in_tiles.cell, label="tiled", run_options=run_options)
    return replace(in_tiles, cell=options, tiling=TILING, macs=4 * 10**9)


RECORDS = [
    timed("unpruned", 1.0, 30.0, 1.0),
    timed("mosp", 0.5, 28.0, 0.6),
    timed("dhp", 0.5, 27.0, 0.7),
    timed("uniform, sliced", 0.5, 26.0, 0.3),
    tiled(),
]


def test_a_point_is_on_the_front_unless_another_is_as_good_in_all_and_better_in_one() -> None:
    points = [(1, 5, 3), (2, 4, 3), (1, 5, 4), (2, 5, 3), (0, 9, 9), (1, 5, 3)]
    assert find_front(points) == [True, True, False, False, True, True]
    assert find_front([(1.0,)]) == [True]


def test_the_front_of_a_table_is_in_memory_time_and_quality() -> None:
    rows = collect_results(RECORDS).rows
    assert {row["label"]: row["on_front"] for row in rows} == {
        "unpruned": True,  # the whole image is faster than tiles
        "mosp": True,
        "dhp": False,
        "uniform, sliced": True,
        "tiled": True,
    }
    lines = table_lines(rows)
    front = table_headers(rows).index("front")
    assert [line[front].text for line in lines].count("yes") == 4


def test_without_times_macs_stand_in_and_the_table_has_no_such_column() -> None:
    untimed = [replace(one, image_seconds=None) for one in RECORDS]
    results = collect_results(untimed)
    labels = [row["label"] for row in results.rows if row["on_front"]]
    assert labels == ["unpruned", "mosp", "tiled"]
    text = render_table(results)
    assert "GMACs" in text and " front |" not in text and "s/image" not in text


def test_the_table_says_how_long_an_image_takes_and_how_it_was_cut() -> None:
    text = render_table(collect_results(RECORDS))
    headers = (" s/image |", " time |", " front |", "s/image: seconds")
    assert all(header in text for header in headers)
    (line,) = (line for line in text.splitlines() if line.startswith("| tiled"))
    assert "2.40" in line and "1.20" in line
    assert "tiled at 0.5: run in 6 tiles of 352x1040 pixels; input and output take 48.0 MiB" in text


def test_rows_in_tiles_have_no_rank_and_take_none() -> None:
    rows = {row["label"]: row for row in collect_results(RECORDS).rows}
    assert [rows[label]["psnr_rank"] for label in ("tiled", "mosp")] == [None, 1]
    assert rows["mosp"]["ranked_rows"] == 3
    assert "**28.00**" in render_table(collect_results(RECORDS))


def test_the_pivot_has_rows_in_tiles_and_the_answers_name_the_best() -> None:
    rows = collect_results(RECORDS).rows
    assert list(build_pivot(rows).lines)[:2] == ["tiled", "mosp"]
    (answer,) = describe_answers(rows)
    assert answer.startswith("At 0.5 of the peak, 'mosp' has the highest PSNR, 28.00 dB; 'dhp'")
    assert answer.endswith(
        ". In tiles or in fewer bits, 'tiled' has 30.00 dB at 0.5, in 1.20 times the time of the "
        "unpruned network."
    )


def test_the_second_curve_is_over_time_or_else_over_macs() -> None:
    for records, title in (
        (RECORDS, "time of an image, unpruned = 1"),
        ([record(cell("mosp")), record(cell("dhp"))], "MACs of an image, 10^9"),
    ):
        results = collect_results(records)
        charts = time_charts(select_panels(results)[0], label_styles(results.methods))
        assert charts and charts["wide"]["chart"].x_title == title
    assert charts["wide"]["chart"].lines[0].points[0].x == 1.5
    none = collect_results([record(cell("mosp"), macs=None)])
    assert time_charts(select_panels(none)[0], label_styles(none.methods)) is None


def test_the_memory_of_tiles_is_beside_that_of_the_unpruned_network() -> None:
    steps = ({"step": 0, "op": "c1", "bytes": 4 * MIB, "live": {"c1": 4 * MIB}},)
    views = compare_memory([replace(one, timeline=steps) for one in (RECORDS[-1], *RECORDS[:2])])
    assert [view["label"] for view in views] == ["tiled", "mosp"]

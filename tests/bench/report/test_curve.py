"""The trade-off curve: files of the promised size, one line per label, no global state."""

import struct
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.errors import ConfigError
from bench.report.curve import draw, pareto_front
from bench.report.results import collect_results
from bench.report.style import COLUMN_INCHES
from tests.bench.report.synthetic import MIB, cell, record, study_records, unfinished_record


def test_the_picture_has_the_promised_size(tmp_path: Path) -> None:
    path = draw(collect_results(study_records((0, 1))), tmp_path / "curve.png")
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    assert (width, height) == (1485, 704)


def test_the_drawing_names_every_label_and_is_reproducible(tmp_path: Path) -> None:
    results = collect_results(study_records())
    first, second = (draw(results, tmp_path / f"{name}.svg").read_text("utf-8") for name in "ab")
    assert first == second
    for text in (
        "mosp",
        "uniform, from scratch",
        "uniform, sliced",
        "unpruned",
        "PSNR, dB",
        "0.25",
    ):
        assert text in first


def test_each_task_has_a_panel(tmp_path: Path) -> None:
    records = [record(cell()), record(cell(task="low_light"))]
    path = draw(collect_results(records), tmp_path / "curve.png")
    assert struct.unpack(">I", path.read_bytes()[20:24]) == (2 * 704,)


def test_nothing_to_draw_is_a_clear_error(tmp_path: Path) -> None:
    results = collect_results([unfinished_record(cell(), "infeasible", "too small")])
    with pytest.raises(ConfigError, match="no finished record"):
        draw(results, tmp_path / "curve.png")
    assert list(tmp_path.iterdir()) == []


def test_pyplot_is_not_touched(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(collect_results([record(cell())]), tmp_path / "curve.png")
    assert dict(matplotlib.rcParams) == before


def test_the_lines_are_the_records(tmp_path: Path, figures: list[Figure]) -> None:
    records = study_records()
    draw(collect_results(records), tmp_path / "curve.png")
    axes = figures[0].axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    mosp = sorted(
        [record.peak_bytes / MIB, record.means["psnr_db"]]
        for record in records
        if record.cell.label == "mosp"
    )
    assert lines["mosp"] == mosp
    widest = max(axes.lines, key=lambda line: line.get_linewidth())
    assert widest.get_xydata().tolist() == mosp  # its point at 0.75 beats even the unpruned network


def test_every_line_has_its_name_beside_the_axes_and_no_two_names_overlap(
    tmp_path: Path, figures: list[Figure]
) -> None:
    methods = ("uniform", "dhp", "assl", "mosp")
    records = [record(cell(label=name)) for name in methods]  # all end at nearly one height
    draw(collect_results(records), tmp_path / "curve.png", width_inches=COLUMN_INCHES)
    figures[0].draw_without_rendering()
    names = [text for text in figures[0].axes[0].texts if text.get_text() in methods]
    boxes = sorted((Text.get_window_extent(text) for text in names), key=lambda box: float(box.y0))
    assert len(boxes) == len(methods)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


def test_the_front_leaves_out_what_is_beaten() -> None:
    rows = [
        {"convention": "planned", "peak_bytes": peak_bytes, "psnr_db": psnr_db}
        for peak_bytes, psnr_db in ((3, 30.0), (1, 20.0), (2, 19.0), (3, 29.0), (4, 30.0))
    ]
    assert [(row["peak_bytes"], row["psnr_db"]) for row in pareto_front(rows)] == [
        (1, 20.0),
        (3, 30.0),
    ]

"""The trade-off curve: files of the promised size, one line per label, no global state."""

import struct
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench.errors import ConfigError
from bench.report.curve import draw, pareto_front
from bench.report.results import collect_results
from bench.report.style import label_styles
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
    assert struct.unpack(">I", path.read_bytes()[20:24]) == (1800,)


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


def test_twenty_labels_look_different() -> None:
    styles = label_styles([str(index) for index in range(20)]).values()
    assert len({str(sorted(style.items())) for style in styles}) == 20
    assert "seaborn" in sys.modules


def test_the_lines_are_the_records(tmp_path: Path, figures: list[Figure]) -> None:
    records = study_records()
    draw(collect_results(records), tmp_path / "curve.png")
    lines = {line.get_label(): line.get_xydata().tolist() for line in figures[0].axes[0].lines}
    mosp = sorted(
        [record.peak_bytes / MIB, record.means["psnr_db"]]
        for record in records
        if record.cell.label == "mosp"
    )
    assert lines["mosp"] == mosp
    assert lines["Pareto front"] == mosp  # its point at 0.75 beats even the unpruned network


def test_the_front_leaves_out_what_is_beaten() -> None:
    rows = [
        {"convention": "planned", "peak_bytes": peak_bytes, "psnr_db": psnr_db}
        for peak_bytes, psnr_db in ((3, 30.0), (1, 20.0), (2, 19.0), (3, 29.0), (4, 30.0))
    ]
    assert [(row["peak_bytes"], row["psnr_db"]) for row in pareto_front(rows)] == [
        (1, 20.0),
        (3, 30.0),
    ]

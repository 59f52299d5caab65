"""The charts of the page show the numbers of the records."""

from pathlib import Path

import pytest

from bench.report import curve
from bench.report.page_curves import learning_charts, skips_chart, trade_off_charts
from bench.report.results import collect_results, read_results
from bench.report.skips import build_panels
from bench.report.style import label_styles
from bench.units import mib
from tests.bench.report.stored import make_store
from tests.bench.report.synthetic import cell, record
from tests.bench.report.test_skips import RECORDS


def test_a_line_is_peak_and_psnr_of_its_rows(tmp_path: Path) -> None:
    results = read_results(make_store(tmp_path))
    (panel,) = curve.select_panels(results)
    chart = trade_off_charts(panel, label_styles(results.methods))["wide"]["chart"]
    (line,) = (line for line in chart.lines if line.label == "mosp")
    rows = [row for row in panel if row["label"] == "mosp"]
    assert [(point.x, point.y) for point in line.points] == sorted(
        (mib(row["peak_bytes"]), row["psnr_db"]) for row in rows
    )
    assert line.points[0].text.startswith("mosp, ratio 0.25: 28.58 dB, SSIM 0.8953, peak 48.0 MiB")
    assert line.text.startswith("mosp: 30.08 dB at 0.75")
    assert chart.level == 29.93 and set(chart.columns.values()) == {"1", "0.75", "0.5", "0.25"}


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_bars_are_drawn_only_for_three_seeds_or_more(
    tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    results = read_results(make_store(tmp_path, seeds))
    (panel,) = curve.select_panels(results)
    layout = trade_off_charts(panel, label_styles(results.methods))["narrow"]
    bars = [point["bar"] for line in layout["lines"] for point in line["points"]]
    assert all((bar is not None) is (len(seeds) > 2) for bar in bars)


def test_a_skip_is_a_line_over_the_share_that_it_keeps() -> None:
    (panel,) = build_panels(collect_results(RECORDS))
    first, second = skips_chart(panel)["chart"].lines
    assert [(point.x, point.y) for point in first.points] == [(0.25, 27.0), (0.75, 28.0)]
    assert second.text == "skip 2: 29.00 dB at 50% kept"


def test_learning_curves_join_the_phases_and_skip_records_without_them() -> None:
    losses = {"adapt": [[10, 0.4], [20, 0.3]], "finetune": [[30, 0.2], [60, 0.0]]}
    trained = record(cell("mosp"), training_losses=losses, calibration_psnr=([30, 28.5],))
    records = [trained, record(cell("dhp"))]
    styles = label_styles({"mosp": "mosp", "dhp": "dhp"})
    quality, loss = (layout["chart"] for layout in learning_charts(records, styles)[0.5])
    assert [[tuple(point[:2]) for point in line.points] for line in quality.lines] == [[(30, 28.5)]]
    assert [point[:2] for point in loss.lines[0].points] == [(10, 0.4), (20, 0.3), (50, 0.2)]
    assert learning_charts(records[1:], styles) == {}

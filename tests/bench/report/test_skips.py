"""Quality against the share that each skip keeps: the lines are the records."""

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.records import Record
from bench.report.results import collect_results
from bench.report.skips import build_panels, draw, kept_share
from tests.bench.report.synthetic import cell, record, study_records


def probe_record(skip: int, keep: float, psnr_db: float) -> Record:
    options = {"skip": skip, "keep": keep}
    return record(
        cell(f"skip {skip} at {keep}", 1.0, method="one_skip", method_options=options),
        means={"psnr_db": psnr_db, "ssim": 0.8},
    )


RECORDS = [
    record(cell("unpruned", 1.0)),
    probe_record(2, 0.5, 29.0),
    probe_record(1, 0.75, 28.0),
    probe_record(1, 0.25, 27.0),
]


def test_a_skip_is_a_line_by_rising_share() -> None:
    (panel,) = build_panels(collect_results(RECORDS))
    assert {
        label: [(kept_share(row), row["psnr_db"]) for row in points]
        for label, points in panel.lines.items()
    } == {
        "skip 1": [(0.25, 27.0), (0.75, 28.0)],
        "skip 2": [(0.5, 29.0)],
    }
    assert panel.whole is not None and panel.whole["label"] == "unpruned"


def test_other_studies_have_no_such_figure(tmp_path: Path) -> None:
    assert build_panels(collect_results(study_records())) == []
    with pytest.raises(ConfigError, match="run the study 'skips' first"):
        draw(collect_results(study_records()), tmp_path / "skips.png")


def test_it_is_written(tmp_path: Path) -> None:
    assert draw(collect_results(RECORDS), tmp_path / "skips.svg").stat().st_size


def test_a_probe_without_its_options_is_not_drawn() -> None:
    results = collect_results([record(cell("one_skip", method="one_skip"))])
    assert build_panels(results) == []

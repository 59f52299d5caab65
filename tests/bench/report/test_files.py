"""The files of a report."""

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.report.files import write_report
from tests.bench.report.synthetic import cell, record, study_cells, study_records

TABLES = ["table.md", "table.csv", "table.tex", "table.json"]


def test_a_report_has_every_table_and_both_figures(tmp_path: Path) -> None:
    paths = list(write_report(tmp_path, study_records(), study_cells()))
    assert [path.name for path in paths] == [*TABLES, "curve.png", "curve.svg", "pattern.png", "pattern.svg"]
    assert all(path.stat().st_size for path in paths)


def test_while_only_the_unpruned_network_is_done_there_is_no_pattern(tmp_path: Path) -> None:
    paths = list(write_report(tmp_path, [record(cell("unpruned", 1.0))], study_cells()))
    assert [path.name for path in paths] == [*TABLES, "curve.png", "curve.svg"]
    assert "pending" in (tmp_path / "table.md").read_text("utf-8")


def test_before_anything_is_done_the_tables_are_written_and_the_rest_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished record with a PSNR"):
        list(write_report(tmp_path, [], study_cells()))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(TABLES)

"""The files of a report."""

from pathlib import Path
from typing import Any

import pytest

from bench.report.frame import merge_rows
from bench.report.results import collect_results, read_results
from bench.report.write_report import write_report
from tests.bench.report.stored import make_store
from tests.bench.report.synthetic import cell, record

TABLES = [
    "table.md",
    "table.csv",
    "table_long.tex",
    "table.json",
    "table.tex",
    "against_paper.md",
]
FIGURES = [
    f"{name}.{suffix}"
    for name in ("curve", "curve_column", "memory", "pattern", "visual")
    for suffix in ("png", "svg", "pdf")
]


def test_a_report_has_every_table_every_figure_and_the_page(tmp_path: Path) -> None:
    paths = list(write_report(make_store(tmp_path)))
    assert [path.name for path in paths] == [*TABLES, *FIGURES, "report.html"]
    assert all(path.stat().st_size for path in paths)


def test_with_three_seeds_and_ten_photographs_there_are_ranks(tmp_path: Path) -> None:
    names = [path.name for path in write_report(make_store(tmp_path, seeds=(0, 1, 2)))]
    assert {"ranks.png", "ranks.svg"} <= set(names)
    assert 'class="ranks" src="data:image/png' in (tmp_path / "report.html").read_text("utf-8")


def test_what_has_nothing_to_show_yet_is_left_out(tmp_path: Path) -> None:
    names = [path.name for path in write_report(make_store(tmp_path, pending=9))]
    shown = [name for name in FIGURES if not name.startswith(("memory", "pattern"))]
    assert names == [*TABLES, *shown, "report.html"]
    assert "pending" in (tmp_path / "table.md").read_text("utf-8")


def test_before_anything_is_done_there_are_tables_and_a_page(tmp_path: Path) -> None:
    names = [path.name for path in write_report(make_store(tmp_path, pending=10))]
    assert names == [*TABLES, "report.html"]


def test_the_rows_are_merged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def count_calls(*arguments: Any) -> list[dict[str, Any]]:
        calls.append(arguments)
        return merge_rows(*arguments)

    monkeypatch.setattr("bench.report.results.merge_rows", count_calls)
    list(write_report(make_store(tmp_path)))
    assert len(calls) == 1


def test_sections_share_the_results_of_a_run(tmp_path: Path) -> None:
    results = read_results(make_store(tmp_path))
    eager = [record(cell(convention="eager"))]
    both = collect_results([*results.records, *eager], results.cells)
    first, second = both.split_sections()
    assert (first.records, first.cells, first.rows) == (
        results.records,
        results.cells,
        results.rows,
    )
    assert (second.records, second.cells) == (eager, [])
    assert [row["convention"] for row in second.rows] == ["eager"]

"""The files of a report."""

from pathlib import Path

from bench.report.files import write_report
from tests.bench.report.stored import stored

TABLES = ["table.md", "table.csv", "table.tex", "table.json", "against_paper.md"]
FIGURES = [
    f"{name}.{ending}"
    for name in ("curve", "memory", "pattern", "visual")
    for ending in ("png", "svg")
]


def test_a_report_has_every_table_every_figure_and_the_page(tmp_path: Path) -> None:
    paths = list(write_report(stored(tmp_path)))
    assert [path.name for path in paths] == [*TABLES, *FIGURES, "report.html"]
    assert all(path.stat().st_size for path in paths)


def test_what_has_nothing_to_show_yet_is_left_out(tmp_path: Path) -> None:
    names = [path.name for path in write_report(stored(tmp_path, pending=9))]
    assert names == [*TABLES, "curve.png", "curve.svg", "visual.png", "visual.svg", "report.html"]
    assert "pending" in (tmp_path / "table.md").read_text("utf-8")


def test_before_anything_is_done_there_are_tables_and_a_page(tmp_path: Path) -> None:
    assert [path.name for path in write_report(stored(tmp_path, pending=10))] == [
        *TABLES,
        "report.html",
    ]

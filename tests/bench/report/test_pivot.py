"""The small table: a line for each label, a column for each ratio."""

from bench.report.pivot import build_pivot, render_latex
from bench.report.results import collect_results
from tests.bench.report.synthetic import cell, record, study_records, unfinished_record


def test_lines_are_labels_from_the_best_on_and_columns_ratios_from_the_largest_on() -> None:
    pivot = build_pivot(collect_results(study_records()).rows)
    assert pivot.ratios == [0.75, 0.5, 0.25]
    assert list(pivot.lines) == ["mosp", "uniform, from scratch", "uniform, sliced"]
    assert [row["label"] for row in pivot.unpruned] == ["unpruned"]
    for label, rows in pivot.lines.items():
        assert [(row["label"], row["ratio"]) for row in rows if row] == [
            (label, ratio) for ratio in pivot.ratios
        ]


def test_a_label_without_one_of_the_ratios_comes_last_and_has_a_gap() -> None:
    records = [record(cell()), record(cell(ratio=0.25)), record(cell("dhp", 0.5))]
    pivot = build_pivot(collect_results(records).rows)
    assert list(pivot.lines) == ["mosp", "dhp"] and pivot.lines["dhp"][1] is None


def test_the_latex_table_is_small_and_marks_the_best_two() -> None:
    table = render_latex(collect_results(study_records((0, 1, 2))))
    assert "method & 0.75 & 0.5 & 0.25 \\\\" in table
    assert "unpruned & \\multicolumn{3}{c}{30.00 $\\pm$ 0.17} \\\\" in table
    assert "mosp & \\textbf{30.15 $\\pm$ 0.17}" in table
    assert "uniform, from scratch & \\underline{29.25" in table
    assert len(table.splitlines()) == 17 and table.count("\\midrule") == 2


def test_a_row_without_a_result_shows_its_status() -> None:
    records = [record(cell()), unfinished_record(cell("dhp"), "infeasible", "too small")]
    assert "dhp & infeasible \\\\" in render_latex(collect_results(records))

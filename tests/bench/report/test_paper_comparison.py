"""The comparison with the paper: its printed numbers, and ranks that can be counted by hand."""

import json
from collections.abc import Sequence

import pytest

from bench.records import Record
from bench.report.frame import merge_rows
from bench.report.paper_comparison import (
    add_paper_values,
    read_paper_table,
    render_paper_comparison,
)
from bench.report.results import collect_results
from tests.bench.report.synthetic import cell, record, study_records


def render(records: Sequence[Record], fmt: str = "md") -> str:
    return render_paper_comparison(collect_results(records), fmt)


def paper_psnr(records: Sequence[Record]) -> list[str | None]:
    return [row["paper_psnr"] for row in add_paper_values(merge_rows(records))]


def test_the_paper_has_ten_methods_at_three_ratios_and_the_unpruned_network() -> None:
    table = read_paper_table()
    assert len({row.method for row in table if row.ratio < 1}) == 10
    assert len(table) == 31
    parameters = {(row.method, row.ratio): row.parameters for row in table if row.params}
    assert parameters["autoslim", 0.25] == 990


def test_only_the_first_row_of_a_method_stands_for_the_papers() -> None:
    table = json.loads(render(study_records(), "json"))
    psnr_db = {(row["label"], row["ratio"]): row["paper_psnr_db"] for row in table}
    at_half = {label for (label, ratio), value in psnr_db.items() if value and ratio == 0.5}
    assert at_half == {"uniform, from scratch", "mosp"}
    assert psnr_db["mosp", 0.25] == 38.92


def test_ranks_are_among_the_methods_that_both_tables_have() -> None:
    ours = {"uniform": 30.0, "dhp": 29.0, "mosp": 28.0, "assl": 27.0}
    records = [
        record(cell(name, 0.25), means={"psnr_db": psnr_db, "ssim": 0.8})
        for name, psnr_db in ours.items()
    ]
    ranks = {
        row["method"]: (row["paper_rank"], row["rank"], row["rank_difference"])
        for row in add_paper_values(merge_rows(records))
    }
    assert ranks == {"uniform": (3, 1, -2), "dhp": (4, 2, -2), "mosp": (1, 3, 2), "assl": (2, 4, 2)}
    sentence = (
        "Ratio 0.25: Kendall's tau with the paper's order is -0.33 (4 rows, too few for an "
        "interval; by chance 0 ± 0.49, p = 0.75)"
    )
    assert sentence in render(records)
    assert json.loads(render(records, "json"))[0]["kendall_tau"] == pytest.approx((2 - 4) / 6)


def test_five_rows_and_more_have_an_interval_of_the_agreement() -> None:
    names = ("mosp", "assl", "uniform", "dhp", "random_search")  # the paper's order at 0.25
    records = [
        record(cell(name, 0.25), means={"psnr_db": 30.0 - index, "ssim": 0.8})
        for index, name in enumerate(names)
    ]
    row = json.loads(render(records, "json"))[0]
    assert row["kendall_tau"] == 1 and row["kendall_interval"][1] == 1
    assert row["kendall_p_value"] == pytest.approx(2 / 120)
    assert "is 1.00 (95 % interval 0." in render(records)


def test_variants_of_a_stride_stand_beside_the_table_that_varies_it() -> None:
    strides = [
        record(
            cell(
                f"mosp, {share}",
                0.5,
                method_options={"outer_stride": share, "inner_stride": "channel"},
            )
        )
        for share in ("1/24", "1/2", "1/5")
    ]
    assert paper_psnr(strides) == ["39.371", "39.283", None]
    steps = [
        record(
            cell(
                f"mosp, {share}",
                0.5,
                method_options={"outer_stride": "1/12", "inner_stride": share},
            )
        )
        for share in ("1/16", "channel")
    ]
    assert paper_psnr(steps) == ["39.383", None]
    assert "39.371" in render(strides) and "39.383" in render(steps)


def test_another_task_or_backbone_is_not_compared_with_the_papers() -> None:
    others = [
        record(cell("mosp", 0.25, backbone="edsr")),
        record(cell("uniform", 0.25, backbone="edsr")),
    ]
    assert [row["rank"] for row in add_paper_values(merge_rows(others))] == [None, None]


def test_the_table_shows_both_in_every_format() -> None:
    text = render(study_records(parameters_stored=121_428))
    assert "7.27M |     94% |        121,428 |" in text
    assert "7.27M" in render(study_records(), "tex")
    assert "38.92" in render(study_records(), "csv")

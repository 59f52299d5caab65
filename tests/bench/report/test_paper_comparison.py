"""Our table beside the paper's: its numbers as printed, and ranks that can be counted by hand."""

import json

from bench.report.frame import rows
from bench.report.paper_comparison import beside, published, render_against
from tests.bench.report.synthetic import cell, record, study_records


def test_the_paper_has_ten_methods_at_three_ratios_and_the_unpruned_network() -> None:
    assert len({one.method for one in published() if one.ratio < 1}) == 10
    assert len(published()) == 31
    assert (
        next(
            one.parameters for one in published() if one.method == "autoslim" and one.ratio == 0.25
        )
        == 990
    )


def test_only_the_first_row_of_a_method_stands_for_the_papers() -> None:
    table = json.loads(render_against(study_records(), "json"))
    assert {
        row["label"] for row in table if row["paper_psnr_db"] is not None and row["ratio"] == 0.5
    } == {"uniform, from scratch", "mosp"}
    assert (
        next(
            row["paper_psnr_db"] for row in table if (row["label"], row["ratio"]) == ("mosp", 0.25)
        )
        == 38.92
    )


def test_ranks_are_among_the_methods_that_both_tables_have() -> None:
    ours = {"uniform": 30.0, "dhp": 29.0, "mosp": 28.0, "assl": 27.0}
    records = [
        record(cell(name, 0.25), means={"psnr_db": psnr_db, "ssim": 0.8})
        for name, psnr_db in ours.items()
    ]
    found = {
        row["method"]: (row["paper_rank"], row["rank"], row["rank_difference"])
        for row in beside(rows(records))
    }
    assert found == {"uniform": (3, 1, -2), "dhp": (4, 2, -2), "mosp": (1, 3, 2), "assl": (2, 4, 2)}
    assert "Ratio 0.25: 2 of 6 pairs of methods stand in the paper's order" in render_against(
        records
    )


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
    assert [row["paper_psnr"] for row in beside(rows(strides))] == ["39.371", "39.283", None]
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
    assert [row["paper_psnr"] for row in beside(rows(steps))] == ["39.383", None]
    assert "39.371" in render_against(strides) and "39.383" in render_against(steps)


def test_another_task_or_backbone_is_not_compared_with_the_papers() -> None:
    others = [
        record(cell("mosp", 0.25, backbone="edsr")),
        record(cell("uniform", 0.25, backbone="edsr")),
    ]
    assert [row["rank"] for row in beside(rows(others))] == [None, None]


def test_the_table_shows_both_in_every_format() -> None:
    text = render_against(study_records(parameters_stored=121_428))
    assert "7.27M |     94% |        121,428 |" in text
    assert "7.27M" in render_against(study_records(), "tex")
    assert "38.92" in render_against(study_records(), "csv")

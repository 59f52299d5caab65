"""The agreement of rankings under two conventions, on ranks that can be counted by hand."""

from bench.records import Record
from bench.report.convention_agreement import describe_agreement
from bench.report.frame import merge_rows
from bench.report.results import collect_results
from bench.report.table import render_table
from tests.bench.report.synthetic import cell, record, study_records


def ranked_records(convention: str, **psnr_db: float) -> list[Record]:
    """Make one record at ratio 0.5 for each label."""
    return [
        record(cell(label, 0.5, convention=convention), means={"psnr_db": value, "ssim": 0.8})
        for label, value in psnr_db.items()
    ]


def test_pairs_in_the_same_order_are_counted() -> None:
    records = ranked_records("planned", a=30.0, b=29.0, c=28.0) + ranked_records(
        "eager", a=29.0, b=30.0, c=28.0
    )
    sentence = (
        "denoising with unet at 0.5: 2 of 3 pairs of rows stand in the same order "
        "under planned and eager budgets; "
    )
    assert describe_agreement(merge_rows(records)) == [
        f"{sentence}the best row is a under planned and b under eager"
    ]
    table = render_table(collect_results(records))
    assert sentence in table and "eager budget" in table


def test_one_convention_has_nothing_to_agree_with() -> None:
    assert describe_agreement(merge_rows(study_records())) == []
    assert (
        describe_agreement(
            merge_rows(ranked_records("planned", a=30.0) + ranked_records("eager", a=29.0))
        )
        == []
    )


def test_ties_and_unfinished_rows_do_not_count() -> None:
    records = ranked_records("planned", a=30.0, b=29.0, c=29.0) + ranked_records(
        "eager", a=29.0, b=28.0, c=27.0
    )
    assert describe_agreement(merge_rows(records))[0].startswith(
        "denoising with unet at 0.5: 2 of 2 pairs"
    )
    waiting = [cell("a", 0.5, seed=1, convention="eager")]
    assert describe_agreement(merge_rows(records, waiting))[0].startswith(
        "denoising with unet at 0.5: 0 of 0 pairs"
    )


def test_only_rows_of_both_are_compared() -> None:
    records = ranked_records("planned", a=30.0, b=29.0, c=35.0) + ranked_records(
        "eager", a=29.0, b=28.0
    )
    assert describe_agreement(merge_rows(records))[0].startswith(
        "denoising with unet at 0.5: 1 of 1 pairs"
    )

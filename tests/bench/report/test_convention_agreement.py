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


def test_the_agreement_is_kendalls_tau() -> None:
    records = ranked_records("planned", a=30.0, b=29.0, c=28.0) + ranked_records(
        "eager", a=29.0, b=30.0, c=28.0
    )
    sentence = (
        "denoising with unet at 0.5: Kendall's tau of the orders under planned and eager budgets "
        "is 0.33 (3 rows, too few for an interval; by chance 0 ± 0.64, p = 1); "
    )
    assert describe_agreement(merge_rows(records)) == [
        f"{sentence}the best row is a under planned and b under eager"
    ]
    table = render_table(collect_results(records))
    assert sentence in table and "eager budget" in table


def test_five_rows_have_an_interval() -> None:
    scores = dict(zip("abcde", (30.0, 29.0, 28.0, 27.0, 26.0), strict=True))
    records = ranked_records("planned", **scores) + ranked_records("eager", **scores)
    assert "is 1.00 (95 % interval" in describe_agreement(merge_rows(records))[0]


def test_one_convention_has_nothing_to_agree_with() -> None:
    assert describe_agreement(merge_rows(study_records())) == []
    assert (
        describe_agreement(
            merge_rows(ranked_records("planned", a=30.0) + ranked_records("eager", a=29.0))
        )
        == []
    )


def test_without_an_order_there_is_no_tau_and_unfinished_rows_do_not_count() -> None:
    records = ranked_records("planned", a=30.0, b=29.0, c=29.0) + ranked_records(
        "eager", a=29.0, b=28.0, c=27.0
    )
    waiting = [cell("a", 0.5, seed=1, convention="eager")]
    (sentence,) = describe_agreement(merge_rows(records, waiting))
    assert "is not defined: all rows are equal; the best row is b under eager" in sentence


def test_only_rows_of_both_are_compared() -> None:
    records = ranked_records("planned", a=30.0, b=29.0, c=35.0) + ranked_records(
        "eager", a=29.0, b=28.0
    )
    assert "is 1.00 (2 rows" in describe_agreement(merge_rows(records))[0]

"""Whether rankings agree under two rulers, on ranks that can be counted by hand."""

from bench.records import Record
from bench.report.convention_agreement import agreement
from bench.report.frame import rows
from bench.report.table import render
from tests.bench.report.synthetic import cell, record, study_records


def ranked(convention: str, **psnr_db: float) -> list[Record]:
    """One record at 0.5 for each label."""
    return [
        record(cell(label, 0.5, convention=convention), means={"psnr_db": value, "ssim": 0.8})
        for label, value in psnr_db.items()
    ]


def test_pairs_in_the_same_order_are_counted() -> None:
    records = ranked("planned", a=30.0, b=29.0, c=28.0) + ranked("eager", a=29.0, b=30.0, c=28.0)
    sentence = "denoising with unet at 0.5: 2 of 3 pairs of rows stand in the same order under planned and eager budgets; "
    assert agreement(rows(records)) == [
        f"{sentence}the best row is a under planned and b under eager"
    ]
    assert sentence in render(records) and "eager budget" in render(records)


def test_one_ruler_has_nothing_to_agree_with() -> None:
    assert agreement(rows(study_records())) == []
    assert agreement(rows(ranked("planned", a=30.0) + ranked("eager", a=29.0))) == []


def test_ties_and_unfinished_rows_do_not_count() -> None:
    records = ranked("planned", a=30.0, b=29.0, c=29.0) + ranked("eager", a=29.0, b=28.0, c=27.0)
    assert agreement(rows(records))[0].startswith("denoising with unet at 0.5: 2 of 2 pairs")
    waiting = [cell("a", 0.5, seed=1, convention="eager")]
    assert agreement(rows(records, waiting))[0].startswith(
        "denoising with unet at 0.5: 0 of 0 pairs"
    )


def test_only_rows_of_both_are_compared() -> None:
    records = ranked("planned", a=30.0, b=29.0, c=35.0) + ranked("eager", a=29.0, b=28.0)
    assert agreement(rows(records))[0].startswith("denoising with unet at 0.5: 1 of 1 pairs")

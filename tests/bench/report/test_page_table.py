"""The pivot of the page."""

from bench.records import Record
from bench.report.page_table import PivotEntry, pivot_lines
from bench.report.pivot import build_pivot
from bench.report.results import collect_results
from tests.bench.report.synthetic import cell, scored_record, unfinished_record


def make_lines(records: list[Record]) -> dict[str, list[PivotEntry]]:
    """Make the entries of the only section of records."""
    return pivot_lines(build_pivot(collect_results(records).rows))


def test_an_entry_says_which_share_of_the_rows_it_beats() -> None:
    records = [
        scored_record(label, gains, ratio=ratio)
        for label, gains in (("dhp", [0.0]), ("mosp", [1.0]), ("assl", [0.5]))
        for ratio in (0.5, 0.25)
    ]
    lines = make_lines(records)
    best = lines["mosp"][0]
    assert (best.rank, best.share, lines["assl"][0].share, lines["dhp"][0].share) == (
        "1",
        1.0,
        0.5,
        0.0,
    )


def test_an_entry_without_an_answer_says_why() -> None:
    records = [
        unfinished_record(cell("dhp", 0.5), "infeasible", "too small"),
        scored_record("mosp", [0.0]),
        scored_record("assl", [0.0], ratio=0.25),
    ]
    lines = make_lines(records)
    assert [entry.text for entry in lines["dhp"]] == ["infeasible", "-"]


def test_three_seeds_give_an_interval() -> None:
    records = [scored_record("mosp", [0.1 * seed] * 10, seed) for seed in range(3)]
    assert " ± " in make_lines(records)["mosp"][0].text

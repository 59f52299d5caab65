"""The pivot of the page."""

from bench.report.page_table import pivot_lines
from bench.report.results import collect_results
from tests.bench.report.synthetic import cell, scored_record, unfinished_record


def test_a_row_has_an_entry_for_each_budget_and_the_best_row_is_first() -> None:
    records = [
        scored_record(label, gains, ratio=ratio)
        for label, gains in (("dhp", [0.0]), ("mosp", [1.0]), ("assl", [0.5]))
        for ratio in (0.5, 0.25)
    ]
    ratios, lines = pivot_lines(collect_results(records).rows)
    assert ratios == [0.5, 0.25] and next(iter(lines)) == "mosp"
    best = lines["mosp"][0]
    assert (best.rank, best.share, lines["assl"][0].share, lines["dhp"][0].share) == (
        "1",
        1.0,
        0.5,
        0.0,
    )


def test_a_row_without_an_answer_says_why_and_comes_last() -> None:
    records = [
        unfinished_record(cell("dhp", 0.5), "infeasible", "too small"),
        scored_record("mosp", [0.0]),
        scored_record("assl", [0.0], ratio=0.25),
    ]
    ratios, lines = pivot_lines(collect_results(records).rows)
    assert ratios == [0.5, 0.25] and list(lines)[-1] == "dhp"
    assert [entry.text for entry in lines["dhp"]] == ["infeasible", "-"]


def test_three_seeds_give_an_interval() -> None:
    records = [scored_record("mosp", [0.1 * seed] * 10, seed) for seed in range(3)]
    _, lines = pivot_lines(collect_results(records).rows)
    assert " ± " in lines["mosp"][0].text

"""Headlines: the best row and MOSP at each ratio, and whether their difference was tested."""

from dataclasses import replace

from bench.records import Record
from bench.report.headlines import describe_answers, describe_evidence
from bench.report.ranks import find_mark
from bench.report.results import collect_results
from tests.bench.report.synthetic import cell, record, scored_record, study_records


def scored(label: str, psnr_db: float, seed: int = 0) -> Record:
    """Make a record of twelve photographs whose mean is `psnr_db`."""
    result = scored_record(label, [psnr_db - 35.5 - 0.001 * seed] * 12, seed)
    return replace(result, means={"psnr_db": psnr_db, "ssim": 0.9})


def test_one_seed_is_not_tested_and_the_sentence_says_so() -> None:
    rows = collect_results([scored("mosp", 30.0), scored("dhp", 30.5)]).rows
    assert describe_answers(rows) == [
        "At 0.5 of the peak, 'dhp' has the highest PSNR, 30.50 dB, 0.50 dB more than MOSP "
        "(not tested: one seed); 'mosp' has 30.00 dB, rank 2 of 2."
    ]
    assert describe_evidence(rows).startswith("One seed and 12 scenes: no difference is tested")


def test_three_seeds_have_a_verdict_with_its_interval() -> None:
    records = [
        scored(label, psnr_db + 0.01 * seed * (label == "dhp"), seed=seed)
        for label, psnr_db in (("mosp", 30.0), ("dhp", 29.0))
        for seed in range(3)
    ]
    rows = collect_results(records).rows
    (answer,) = describe_answers(rows)
    assert "'mosp' has the highest PSNR, 30.00 dB; 'dhp' follows with 29.01 dB" in answer
    assert "0.99 dB less than MOSP (worse; 95 % interval -1.0" in answer
    assert describe_evidence(rows).startswith("3 seeds and 12 scenes: differences are tested")


def test_an_interval_that_includes_zero_says_so() -> None:
    records = [
        scored(label, 30.0 + gain * (-1) ** seed, seed=seed)
        for label, gain in (("mosp", 0.0), ("dhp", 0.4))
        for seed in range(3)
    ]
    (answer,) = describe_answers(collect_results(records).rows)
    assert "(level; 95 % interval -" in answer and answer.count("includes zero") == 1


def test_a_study_without_mosp_compares_the_first_two_rows() -> None:
    rows = collect_results([record(cell("dhp")), record(cell("uniform, sliced"))]).rows
    assert describe_answers(rows) == [
        "At 0.5 of the peak, 'dhp' has the highest PSNR, 28.43 dB, before 'uniform, sliced' "
        "with 27.73 dB."
    ]
    assert describe_evidence(rows).startswith("One seed: no difference is tested")


def test_ratios_with_fewer_than_two_results_have_no_sentence() -> None:
    alone = collect_results([record(cell())]).rows
    assert describe_answers(alone) == [] and describe_evidence(alone) == ""
    unfinished = [replace(entry, status="failed", means={}) for entry in study_records()]
    assert describe_answers(collect_results(unfinished).rows) == []


def test_a_row_that_trained_beyond_its_booked_steps_is_never_the_best() -> None:
    honest, other = scored("mosp", 30.0), scored("assl", 29.0)
    cheat = replace(scored("dhp", 33.0), unbooked={"optimizer steps": 300})
    rows = collect_results([honest, cheat, other]).rows
    assert [row["psnr_rank"] for row in rows if row["label"] == "dhp"] == [None]
    (answer,) = describe_answers(rows)
    assert "'dhp'" not in answer
    assert [find_mark(rows, row) for row in rows if row["label"] == "dhp"] == [""]

"""The sentences above the tables: what a study found, and what it cannot say.

They are the same on the page, in a terminal and in the documentation. With fewer than three seeds
or ten scenes a difference is "not tested" (`bench.report.statistics`).
"""

from collections.abc import Sequence
from itertools import groupby

from bench.report.captions import NUMERALS, describe_sample
from bench.report.frame import MAIN_METHOD, Row, competes
from bench.report.ranks import format_rank
from bench.report.statistics import MIN_SCENES, MIN_SEEDS, is_enough


def describe_answers(section: Sequence[Row]) -> list[str]:
    """Return a sentence for each ratio below 1, on the best row and on MOSP.

    A second sentence names the best row that runs in tiles or in fewer bits, if there are any.
    `section` has the rows of one section, ranked and compared with MOSP.
    """
    answers = []
    for ratio, block in groupby(section, key=lambda row: row["ratio"]):
        rows = [row for row in block if ratio < 1]
        pruned = _describe_answer(ratio, rows)
        otherwise = _describe_run(ratio, [row for row in rows if _runs_otherwise(row)])
        answers.append(f"{pruned} {otherwise}".strip())
    return [answer for answer in answers if answer]


def _runs_otherwise(row: Row) -> bool:
    """Return whether a row runs in tiles or in fewer bits; stored tables may be older."""
    return bool(row.get("run_options"))


def describe_evidence(section: Sequence[Row]) -> str:
    """Return a sentence on what the differences of a section rest on; "" without two results.

    Scenes are counted in the comparison with MOSP, so they are left out where there is none.
    """
    done = [
        row
        for row in section
        if row["ratio"] < 1 and row["psnr_db"] is not None and not _runs_otherwise(row)
    ]
    if len(done) < 2:
        return ""
    scenes = max(row["scenes"] or 0 for row in done)
    seeds = max(row["paired_seeds"] or 0 for row in done) or max(row["seeds"] for row in done)
    sample = _count(seeds, "seed").capitalize() + (f" and {_count(scenes, 'scene')}" * bool(scenes))
    if is_enough(seeds, scenes):
        return f"{sample}: differences are tested at 5 %, corrected for their number."
    return (
        f"{sample}: no difference is tested, which takes {MIN_SEEDS} seeds and {MIN_SCENES} "
        "scenes; equally good rows differ by chance."
    )


def _count(number: int, noun: str) -> str:
    return f"{NUMERALS.get(number, number)} {noun}{'s' * (number != 1)}"


def _describe_answer(ratio: float, rows: Sequence[Row]) -> str:
    """Return the sentence of one ratio; "" for fewer than two rows that compete."""
    done = [row for row in rows if competes(row)]
    if len(done) < 2:
        return ""
    best, second = sorted(done, key=lambda row: -row["psnr_db"])[:2]
    first = f"At {ratio:g} of the peak, '{best['label']}' has the highest PSNR, {_psnr(best)}"
    main = next((row for row in done if row["method"] == MAIN_METHOD), None)
    if main is None:
        return f"{first}, before '{second['label']}' with {_psnr(second)}."
    if main is best:
        return f"{first}; '{second['label']}' follows with {_psnr(second)}, {_compare(second)}."
    return f"{first}, {_compare(best)}; '{main['label']}' has {_psnr(main)}, rank {_place(main)}."


def _describe_run(ratio: float, rows: Sequence[Row]) -> str:
    """Return the sentence on rows that run in tiles or in fewer bits; "" if none is finished."""
    done = [row for row in rows if row["status"] == "done" and row["psnr_db"] is not None]
    if not done:
        return ""
    best = max(done, key=lambda row: row["psnr_db"])
    time = best["relative_time"]
    slower = f", in {time:.2f} times the time of the unpruned network" if time else ""
    return f"In tiles or in fewer bits, '{best['label']}' has {_psnr(best)} at {ratio:g}{slower}."


def _psnr(row: Row) -> str:
    return f"{row['psnr_db']:.2f} dB"


def _place(row: Row) -> str:
    return f"{format_rank(row)} of {row['ranked_rows']}"


def _compare(row: Row) -> str:
    """Describe the difference of a row to MOSP: "0.40 dB more than MOSP (not tested)"."""
    difference_db = row["difference_db"]
    if difference_db is None:
        return "not compared with MOSP"
    sign = "more" if difference_db >= 0 else "less"
    amount = f"{abs(difference_db):.2f} dB {sign} than MOSP"
    if row["interval_db"] is None:
        return f"{amount} (not tested: {describe_sample(row['paired_seeds'], row['scenes'])})"
    low, high = row["interval_db"]
    interval = f"95 % interval {low:+.2f} to {high:+.2f}"
    return f"{amount} ({row['verdict']}; {interval}{', includes zero' * (low <= 0 <= high)})"

"""The rank of each row at its ratio, with a 95 % interval.

A row's rank is 1 plus the number of rows whose mean PSNR over seeds and scenes is higher. Ranks are
among the finished pruned rows of a ratio that have the same seeds and photographs
(`bench.report.scores`); all other rows (failed, infeasible, pending, unpruned, in tiles or in fewer
bits, or trained beyond the booked steps) have none and change none.

The interval comes from tests, not from a bootstrap: a row is compared with each other row, paired
by seed and scene, with Holm's correction for these comparisons (`estimate_mean` with the prior of
the ratio). If b rows are better than it and w worse, of R, the interval is [1 + b, R - w] (Mogstad,
Romano, Shaikh & Wilhelm 2024, Rev. Econ. Stud. 91; for all ranks together Al Mohamad, Goeman & van
Zwet 2022, Biometrics 78). It holds all true ranks of the row in 92 to 99 % of simulated cases;
where rows are exactly equal, each rank that they share is a true one.

Resampling seeds and photographs, the same for all rows, does not do that. Three seeds, resampled,
scatter by a third less than they should; and where rows are nearly equal, the resampled ranks stay
near the observed one, which is chance (`results/simulations/verdicts.md`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.records import Record
from bench.report.frame import Row, competes
from bench.report.scores import find_groups
from bench.report.statistics import (
    CONFIDENCE,
    MIN_SCENES,
    MIN_SEEDS,
    Values,
    correct_holm,
    estimate_mean,
    fit_prior,
    is_enough,
)

RANK_FIELDS = ("psnr_rank", "psnr_rank_low", "psnr_rank_high", "ranked_rows")
MISSING = "-"
MARKS = ("bold", "second")
ROUNDING_DB = 1e-9  # rows that are nearer to each other than this are equal


class Rank(NamedTuple):
    """The rank of a row: 1 for the highest PSNR; `low` is the better end of its interval."""

    rank: int
    low: int | None = None
    high: int | None = None


def add_ranks(rows: Sequence[dict[str, Any]], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the rows with RANK_FIELDS; None for what does not exist."""
    result = [row | dict.fromkeys(RANK_FIELDS) for row in rows]
    for group, values in find_groups(result, records):
        for row, rank in zip(group, rank_rows(values), strict=True):
            row.update(zip(RANK_FIELDS, (*rank, len(group)), strict=True))
    return result


def rank_rows(values: Values) -> list[Rank]:
    """Rank rows by their mean; without intervals if there are too few seeds or scenes.

    Args:
        values: (rows, seeds, scenes), dB.
    """
    means = values.mean((1, 2))
    ranks = 1 + (means > means[:, None] + ROUNDING_DB).sum(1)
    if not is_enough(*values.shape[1:]):
        return [Rank(int(rank)) for rank in ranks]
    estimate = estimate_mean(values[None] - values[:, None], fit_prior(values))
    p_values = estimate.p_value
    intervals = []
    for row, rank in enumerate(ranks):
        others = np.arange(len(values)) != row
        is_apart = np.array(correct_holm(p_values[row, others])) < 1 - CONFIDENCE
        leads = estimate.mean[row, others]
        better = int((is_apart & (leads > 0)).sum())
        worse = int((is_apart & (leads < 0)).sum())
        intervals.append(Rank(int(rank), 1 + better, len(values) - worse))
    return intervals


def format_rank(row: Row) -> str:
    """Format the rank of a row: "2", with an interval "2 [1, 5]"."""
    if row["psnr_rank"] is None:
        return MISSING
    if row["psnr_rank_low"] is None:
        return str(row["psnr_rank"])
    return f"{row['psnr_rank']} [{row['psnr_rank_low']}, {row['psnr_rank_high']}]"


def describe_ranks(section: Sequence[Row]) -> list[str]:
    """Return a sentence, without full stop, on the ranks of a section; none without ranks."""
    ranked = [row for row in section if row["psnr_rank"]]
    if not ranked:
        return []
    counts = {row["ratio"]: row["ranked_rows"] for row in ranked}
    rows = ", ".join(f"{count} at {ratio:g}" for ratio, count in counts.items())
    interval = (
        "in brackets its 95 % interval over seeds and scenes: from 1 plus the rows that are better "
        "than it to the last place that is not taken by a row that is worse"
        if any(row["psnr_rank_low"] for row in ranked)
        else f"an interval takes {MIN_SEEDS} seeds and {MIN_SCENES} scenes"
    )
    return [
        "Rank: place by mean PSNR over seeds and scenes among the finished pruned rows with the "
        f"same seeds and photographs ({rows}); other rows have none; {interval}"
    ]


def find_mark(section: Sequence[Row], row: Row) -> str:
    """Return "bold" if a row has the best PSNR of its ratio, "second" for the second best, else "".

    Only rows that compete have a mark, by the decimals shown, and only if the ratio has several:
    the marks compare ways of pruning.
    """
    done = [other for other in section if competes(other)]
    rivals = [round(other["psnr_db"], 2) for other in done if other["ratio"] == row["ratio"]]
    if len(rivals) < 2 or not any(row is other for other in done):
        return ""
    best = sorted(set(rivals), reverse=True)[: len(MARKS)]
    own = round(row["psnr_db"], 2)
    return MARKS[best.index(own)] if own in best else ""

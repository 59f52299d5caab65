"""Comparison of each row with a reference row, by seed and scene.

    d[s, i] = PSNR of a row at seed s on scene i, minus that of the reference row

From three seeds and ten scenes on, the mean of d has an interval and is tested against zero
(`bench.report.statistics`); with fewer there is only the mean. The noise of training is judged with
the help of all rows of the ratio that have the same seeds and photographs. The p values are
corrected for all rows and ratios of a section, which is one table (Holm 1979).
"""

from collections.abc import Sequence
from itertools import combinations, groupby
from typing import Any

from bench.records import Record
from bench.report.frame import MAIN_METHOD, Row, cell_section_key, group_by, section_key
from bench.report.scores import (
    RowKey,
    Scores,
    average_scenes,
    collect_scores,
    comparison_key,
    find_groups,
    row_key,
)
from bench.report.statistics import (
    CONFIDENCE,
    NO_PRIOR,
    Prior,
    correct_holm,
    estimate_mean,
    fit_prior,
    half_width_over_seeds,
    is_enough,
)

COMPARISON_FIELDS = (
    "difference_db",
    "difference_db_half95",
    "interval_db",
    "photographs",
    "scenes",
    "paired_seeds",
    "p_value",
    "verdict",
)


def compare_with_main(
    rows: Sequence[dict[str, Any]], records: Sequence[Record]
) -> list[dict[str, Any]]:
    """Return the rows, each compared with the first row of MOSP of its section.

    A section without one gets empty fields.
    """
    result: list[dict[str, Any]] = []
    records_of: dict[str, list[Record]] = {}
    for record in records:
        records_of.setdefault(cell_section_key(record.cell), []).append(record)
    for key, group in groupby(rows, key=section_key):
        section = list(group)
        label = next((row["label"] for row in section if row["method"] == MAIN_METHOD), "")
        result += compare_with_reference(label, section, records_of.get(key, []))
    return result


def compare_with_reference(
    reference: str, rows: Sequence[Row], records: Sequence[Record]
) -> list[dict[str, Any]]:
    """Return the rows with the fields of their comparison with a reference row.

    The fields are `difference_db`, `photographs`, `scenes` and `paired_seeds`, None for rows that
    are not compared; `difference_db_half95`, half of the interval over seeds alone; `interval_db`,
    `p_value` (corrected) and `verdict` ("better", "worse" or "level"), None for rows that are not
    tested; and `versus`, the label of the reference.

    Args:
        reference: label; a row is compared with the row of this label that has its ratio, recipe,
            compute and data.
        rows: of a run.
        records: with the scores of the rows.
    """
    scores = collect_scores(records)
    result = [dict(row) for row in rows]
    priors = _fit_priors(result, records)
    references = [row for row in result if row["label"] == reference]
    partners = {comparison_key(row): row_key(row) for row in reversed(references)}
    for row in result:
        ours, theirs = row_key(row), partners.get(comparison_key(row), ("", ""))
        prior = priors.get(frozenset((ours, theirs)), NO_PRIOR)
        compared = _compare_scores(scores.get(ours, {}), scores.get(theirs, {}), prior)
        row |= {"versus": reference} | compared
    for section in group_by(result, section_key):
        _add_verdicts(section)
    return result


def _fit_priors(
    rows: Sequence[dict[str, Any]], records: Sequence[Record]
) -> dict[frozenset[RowKey], Prior]:
    """Return the two keys of each pair of rows that may be ranked together -> its prior."""
    priors: dict[frozenset[RowKey], Prior] = {}
    for group, values in find_groups(rows, records):
        if is_enough(*values.shape[1:]):
            prior = fit_prior(values)
            pairs = combinations(map(row_key, group), 2)
            priors |= dict.fromkeys(map(frozenset, pairs), prior)
    return priors


def _compare_scores(ours: Scores, theirs: Scores, prior: Prior) -> dict[str, Any]:
    """Compare two rows on the photographs and seeds that both have.

    A scene counts once, however many photographs it has.
    """
    common = {key: ours[key] - theirs[key] for key in ours.keys() & theirs.keys()}
    differences = average_scenes(common)
    if differences is None or ours is theirs:
        return dict.fromkeys(COMPARISON_FIELDS)
    seeds, scenes = differences.shape
    deviation = float(differences.mean(1).std(ddof=1)) if seeds > 1 else None
    compared = {
        "difference_db": float(differences.mean()),
        "difference_db_half95": half_width_over_seeds(deviation, seeds),
        "interval_db": None,
        "photographs": len({photograph for _, photograph in common}),
        "scenes": scenes,
        "paired_seeds": seeds,
        "p_value": None,
        "verdict": None,
    }
    if not is_enough(seeds, scenes):
        return compared
    estimate = estimate_mean(differences, prior)
    return compared | {
        "interval_db": [float(estimate.low), float(estimate.high)],
        "p_value": float(estimate.p_value),
    }


def _add_verdicts(section: Sequence[dict[str, Any]]) -> None:
    """Correct the p values of a section, and add the verdicts."""
    tested = [row for row in section if row["p_value"] is not None]
    p_values = correct_holm([row["p_value"] for row in tested])
    for row, p_value in zip(tested, p_values, strict=True):
        sign = "better" if row["difference_db"] > 0 else "worse"
        row |= {"p_value": p_value, "verdict": sign if p_value < 1 - CONFIDENCE else "level"}

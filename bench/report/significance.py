"""Comparison of each row with a reference row, by seed and scene.

    d[s, i] = PSNR of a row at seed s on scene i, minus that of the reference row

Photographs of one scene are not independent, so d is their mean. The scene of a photograph is its
name up to the last "/"; a photograph without one is a scene of its own, and scenes of two test sets
are different. From three seeds and ten scenes on, the mean of d has an interval and is tested
against zero (`bench.report.statistics`); with fewer there is only the mean. The p values are
corrected for all rows of a ratio.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

import numpy as np

from bench.contract import find_scene
from bench.errors import ConfigError
from bench.plugins.registry import describe_unknown
from bench.records import Record
from bench.report.frame import Row, group_by, question_key, section_key
from bench.report.results import RunResults
from bench.report.statistics import (
    CONFIDENCE,
    MIN_SCENES,
    MIN_SEEDS,
    correct_holm,
    estimate_mean,
    half_width_over_seeds,
)
from bench.report.table import (
    MISSING,
    Markup,
    TableLayout,
    format_mean,
    format_status,
    render_rows,
)

HEADERS = (
    "label",
    "ratio",
    "PSNR dB",
    "difference dB",
    "95 % interval",
    "photographs",
    "scenes",
    "seeds",
    "p, Holm",
    "verdict",
)
COMPARISON_FIELDS = (
    "difference_db",
    "difference_db_half95",
    "interval_db",
    "photographs",
    "scenes",
    "paired_seeds",
    "p_value",
)
NUMERALS = {1: "one", 2: "two"}
Photograph = tuple[str, str]  # test set, name
Scores = Mapping[tuple[int, Photograph], float]  # (seed, photograph) -> PSNR


def render_reference_comparison(
    results: RunResults, reference: str, table_format: str = "md"
) -> str:
    """Return the table of a comparison with one row, without a newline at its end.

    Args:
        results: of the run.
        reference: label of the row that all others are compared with.
        table_format: "md", "csv", "tex" or "json".

    Raises:
        ConfigError: the label or the format is unknown.
    """
    labels = dict.fromkeys(row["label"] for row in results.rows)
    if reference not in labels:
        raise ConfigError(describe_unknown("row", reference, labels))
    rows = compare_with_reference(reference, results.rows, results.records)
    layout = TableLayout(HEADERS, _format_row, lambda section: _caption(reference))
    return render_rows(rows, table_format, layout)


def compare_with_reference(
    reference: str, rows: Sequence[Row], records: Sequence[Record]
) -> list[dict[str, Any]]:
    """Return the rows with the fields of their comparison with a reference row.

    The fields are `difference_db`, `photographs`, `scenes` and `paired_seeds`, None for rows that
    are not compared; `difference_db_half95`, half of the interval over seeds alone, `interval_db`
    and `p_value` (corrected), None for rows that are not tested; and `versus`, the label of the
    reference.

    Args:
        reference: label; a row is compared with the row of this label that has its ratio, recipe,
            compute and data.
        rows: of a run.
        records: with the scores of the rows.
    """
    scores = _collect_scores(records)
    result: list[dict[str, Any]] = []
    for _, group in groupby(rows, key=lambda row: (section_key(row), row["ratio"])):
        block = [dict(row) for row in group]
        for row in block:
            partner = _find_reference(reference, row, block)
            row |= {"versus": reference} | _compare_scores(
                scores.get(_row_key(row), {}), scores.get(_row_key(partner), {}) if partner else {}
            )
        tested = [row for row in block if row["p_value"] is not None]
        p_values = correct_holm([row["p_value"] for row in tested])
        for row, p_value in zip(tested, p_values, strict=True):
            row["p_value"] = p_value
        result += block
    return result


def _find_reference(reference: str, row: Row, block: Sequence[Row]) -> Row | None:
    """Return the row of the label `reference` that a row may be compared with."""
    return next(
        (
            other
            for other in block
            if other["label"] == reference
            and _comparison_conditions(other) == _comparison_conditions(row)
        ),
        None,
    )


def _comparison_conditions(row: Row) -> tuple[Any, ...]:
    """Return the fields that are equal in two comparable rows of a section and ratio."""
    return row["recipe"], row["compute"], row["data_fingerprint"]


def _compare_scores(ours: Scores, theirs: Scores) -> dict[str, Any]:
    """Compare two rows on the photographs and seeds that both have.

    A scene counts once, however many photographs it has.
    """
    common = ours.keys() & theirs.keys()
    seeds = sorted({seed for seed, _ in common})
    photographs = sorted({photograph for _, photograph in common})
    if not common or len(common) < len(seeds) * len(photographs) or ours is theirs:
        return dict.fromkeys(COMPARISON_FIELDS)
    scenes = group_by(photographs, _find_scene)
    differences = np.array(
        [
            [fmean(ours[seed, name] - theirs[seed, name] for name in scene) for scene in scenes]
            for seed in seeds
        ]
    )
    deviation = float(differences.mean(1).std(ddof=1)) if len(seeds) > 1 else None
    compared = {
        "difference_db": float(differences.mean()),
        "difference_db_half95": half_width_over_seeds(deviation, len(seeds)),
        "photographs": len(photographs),
        "scenes": len(scenes),
        "paired_seeds": len(seeds),
    }
    if len(seeds) < MIN_SEEDS or len(scenes) < MIN_SCENES:
        return compared | {"interval_db": None, "p_value": None}
    estimate = estimate_mean(differences)
    return compared | {
        "interval_db": [float(estimate.low), float(estimate.high)],
        "p_value": float(estimate.p_value),
    }


def _find_scene(photograph: Photograph) -> Photograph:
    test_set, name = photograph
    return test_set, find_scene(name)


def _collect_scores(
    records: Sequence[Record],
) -> dict[tuple[str, str], dict[tuple[int, Photograph], float]]:
    """Return the scores of each row, by its key."""
    scores: dict[tuple[str, str], dict[tuple[int, Photograph], float]] = {}
    for record in records:
        row_scores = scores.setdefault((question_key(record.cell), record.cell.label), {})
        for test_set, photographs in record.scores.items():
            for photograph, score in photographs.items():
                if "psnr_db" in score:
                    row_scores[record.cell.seed, (test_set, photograph)] = score["psnr_db"]
    return scores


def _row_key(row: Row) -> tuple[str, str]:
    return row["question"], row["label"]


def _format_row(_: Sequence[Row], row: Row, markup: Markup) -> list[str]:
    """Format the cells of one row, in the order of HEADERS."""
    compared = row["difference_db"] is not None
    return [
        markup.escape(row["label"]),
        f"{row['ratio']:g}",
        format_mean(row, "psnr_db", ".2f", markup),
        format_mean(row, "difference_db", "+.2f", markup),
        "{:+.2f} to {:+.2f}".format(*row["interval_db"]) if row["interval_db"] else MISSING,
        *(
            str(row[name]) if compared else MISSING
            for name in ("photographs", "scenes", "paired_seeds")
        ),
        MISSING if row["p_value"] is None else f"{row['p_value']:.2g}",
        markup.escape(format_verdict(row)),
    ]


def format_verdict(row: Row) -> str:
    """Format the result of a comparison in words."""
    if row["status"] != "done":
        return format_status(row)
    if row["difference_db"] is None:
        return "reference" if row["label"] == row["versus"] else "not compared"
    if row["p_value"] is None:
        return f"{describe_sample(row['paired_seeds'], row['scenes'])}: not tested"
    if row["p_value"] >= 1 - CONFIDENCE:
        return "not significant"
    return "better" if row["difference_db"] > 0 else "worse"


def describe_sample(seeds: int, scenes: int) -> str:
    """Describe what there is too little of for a test: "one seed" or "3 scenes"."""
    if seeds < MIN_SEEDS:
        return f"{NUMERALS[seeds]} seed{'s' * (seeds > 1)}"
    return f"{scenes} scene{'s' * (scenes > 1)}"


def describe_test() -> list[str]:
    """Return sentences, without full stop, on the interval and the test."""
    return [
        "95 % interval and p: over seeds and scenes together, so for networks trained anew and "
        f"other scenes; from {MIN_SEEDS} seeds and {MIN_SCENES} scenes on; a scene is one "
        "photograph, or those whose names agree up to the last '/'",
        "Verdict at 5 %, with Holm's correction for the rows of a ratio",
    ]


def _caption(reference: str) -> list[str]:
    return [
        f"Difference: PSNR minus that of '{reference}', mean over the scenes and seeds that both "
        "rows have, from three seeds on with half of its 95 % interval over seeds, which holds for "
        "these photographs and normal values",
        *describe_test(),
    ]

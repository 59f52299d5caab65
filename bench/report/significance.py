"""Whether one method is better than another, by photograph.

    d[s, i] = PSNR of a row at seed s and photograph i, minus that of the reference row

The mean of d has a bootstrap interval, and is tested against zero, corrected for all rows of a
ratio (bench.report.statistics). Tiles of one photograph are not independent; what a test set names
apart counts as apart.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from bench.errors import ConfigError
from bench.plugins.registry import unknown
from bench.records import Cell, Record
from bench.report.frame import question, rows, section
from bench.report.statistics import CONFIDENCE, LEAST_PHOTOGRAPHS, holm, interval, p_value
from bench.report.table import MISSING, Face, Marks, Row, number, render_rows, status_text

HEADERS = (
    "label",
    "ratio",
    "PSNR dB",
    "difference dB",
    "95 % interval",
    "photographs",
    "seeds",
    "p, Holm",
    "verdict",
)


def render_versus(
    reference: str, records: Sequence[Record], fmt: str = "md", cells: Sequence[Cell] = ()
) -> str:
    """Every row beside the row `reference`, without a newline at its end.

    Raises ConfigError for a label or format that is not there.
    """
    merged = rows(records, cells)
    labels = dict.fromkeys(row["label"] for row in merged)
    if reference not in labels:
        raise ConfigError(unknown("row", reference, labels))
    return render_rows(
        versus(reference, merged, records),
        fmt,
        Face(HEADERS, _columns, lambda group: _caption(reference, group)),
    )


def versus(
    reference: str, merged: Sequence[Row], records: Sequence[Record]
) -> list[dict[str, Any]]:
    """The rows with `difference_db`, `interval_db`, `photographs`, `paired_seeds`, `p_value` (corrected), and `versus`; None for none.

    A row is compared with the row of the label `reference` that has its ratio, recipe and data.
    """
    scores = _scores(records)
    result: list[dict[str, Any]] = []
    for _, group in groupby(merged, key=lambda row: (section(row), row["ratio"])):
        block = [dict(row) for row in group]
        for row in block:
            other = next(
                (
                    other
                    for other in block
                    if other["label"] == reference and _conditions(other) == _conditions(row)
                ),
                None,
            )
            row |= {"versus": reference} | _compared(
                scores.get(_name(row), {}), scores.get(_name(other), {}) if other else {}
            )
        tested = [row for row in block if row["p_value"] is not None]
        for row, corrected in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
            row["p_value"] = corrected
        result += block
    return result


def _conditions(row: Row) -> tuple[Any, ...]:
    """What two rows must share to be compared, within a section and ratio."""
    return row["recipe"], row["compute"], row["data_fingerprint"]


def _compared(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> dict[str, Any]:
    """What is known of two rows, from the photographs and seeds that both have."""
    common = ours.keys() & theirs.keys()
    seeds, photographs = (
        sorted({seed for seed, _ in common}),
        sorted({photo for _, photo in common}),
    )
    if not common or len(common) < len(seeds) * len(photographs) or ours is theirs:
        return dict.fromkeys(
            ("difference_db", "interval_db", "photographs", "paired_seeds", "p_value")
        )
    differences = np.array(
        [[ours[seed, photo] - theirs[seed, photo] for photo in photographs] for seed in seeds]
    )
    return {
        "difference_db": float(differences.mean()),
        "interval_db": list(interval(differences)),
        "photographs": len(photographs),
        "paired_seeds": len(seeds),
        "p_value": p_value(differences),
    }


def _scores(records: Sequence[Record]) -> dict[tuple[str, str], dict[Any, float]]:
    """Row -> (seed, test set/photograph) -> PSNR."""
    found: dict[tuple[str, str], dict[Any, float]] = {}
    for record in records:
        photos = [
            (f"{name}/{photo}", score)
            for name, each in record.scores.items()
            for photo, score in each.items()
        ]
        known = {
            (record.cell.seed, photo): score["psnr_db"]
            for photo, score in photos
            if "psnr_db" in score
        }
        found.setdefault((question(record.cell), record.cell.label), {}).update(known)
    return found


def _name(row: Row) -> tuple[str, str]:
    return row["question"], row["label"]


def _columns(group: Sequence[Row], row: Row, marks: Marks) -> list[str]:
    """The cells of one row, in the order of HEADERS."""
    known = row["difference_db"] is not None
    return [
        marks.escape(row["label"]),
        f"{row['ratio']:g}",
        number(row, "psnr_db", ".2f", marks),
        f"{row['difference_db']:+.2f}" if known else MISSING,
        "{:+.2f} to {:+.2f}".format(*row["interval_db"]) if known else MISSING,
        str(row["photographs"]) if known else MISSING,
        str(row["paired_seeds"]) if known else MISSING,
        MISSING if row["p_value"] is None else f"{row['p_value']:.2g}",
        marks.escape(verdict(row)),
    ]


def verdict(row: Row) -> str:
    """The comparison of a row in words."""
    if row["status"] != "done":
        return status_text(row)
    if row["difference_db"] is None:
        return "reference" if row["label"] == row["versus"] else "not compared"
    if row["p_value"] is None:
        return "too few images for a test"
    return (
        ("better" if row["difference_db"] > 0 else "worse")
        if row["p_value"] < 1 - CONFIDENCE
        else "not significant"
    )


def _caption(reference: str, group: Sequence[Row]) -> list[str]:
    return [
        f"Difference: PSNR minus that of '{reference}', mean over the photographs and seeds that both rows have",
        "Interval: 95 % bootstrap over photographs, then seeds",
        f"p: Wilcoxon's signed ranks over photographs, from {LEAST_PHOTOGRAPHS} on; Holm's correction over the rows of a ratio",
    ]

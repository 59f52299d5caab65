"""The scores of rows by seed and photograph, and by seed and scene.

Photographs of one scene are not independent, so a scene counts as the mean of its photographs. The
scene of a photograph is its name up to the last "/"; a photograph without one is a scene of its
own, and scenes of two test sets are different.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.contract import find_scene
from bench.files.hashing import digest
from bench.records import Record
from bench.report.frame import Row, competes, group_by, section_key
from bench.report.statistics import Values

Photograph = tuple[str, str]  # test set, name
Scores = Mapping[tuple[int, Photograph], float]  # (seed, photograph) -> PSNR
RowKey = tuple[str, str]
Group = tuple[list[dict[str, Any]], Values]  # rows; their PSNR (rows, seeds, scenes)


def row_key(row: Row) -> RowKey:
    """Return the key of a row in `collect_scores`."""
    return row["question"], row["label"]


def collect_scores(records: Sequence[Record]) -> dict[RowKey, dict[tuple[int, Photograph], float]]:
    """Return the scores of each row, by its key."""
    scores: dict[RowKey, dict[tuple[int, Photograph], float]] = {}
    for record in records:
        row_scores = scores.setdefault((record.cell.question, record.cell.label), {})
        for test_set, photographs in record.scores.items():
            for photograph, score in photographs.items():
                if "psnr_db" in score:
                    row_scores[record.cell.seed, (test_set, photograph)] = score["psnr_db"]
    return scores


def comparison_key(row: Row) -> str:
    """Return a key that is equal for rows that may be compared by seed and photograph."""
    fields = [row[name] for name in ("ratio", "recipe", "compute", "data_fingerprint")]
    return digest([section_key(row), *fields])


def average_scenes(scores: Scores) -> Values | None:
    """Return the PSNR of a row (seeds, scenes); None if a photograph lacks a seed."""
    seeds = sorted({seed for seed, _ in scores})
    photographs = sorted({photograph for _, photograph in scores})
    if not scores or len(scores) < len(seeds) * len(photographs):
        return None
    values = np.array([[scores[seed, photograph] for photograph in photographs] for seed in seeds])
    scenes = group_by(range(len(photographs)), lambda index: _find_scene(photographs[index]))
    return np.stack([values[:, scene].mean(axis=1) for scene in scenes], axis=1)


def _find_scene(photograph: Photograph) -> Photograph:
    test_set, name = photograph
    return test_set, find_scene(name)


def find_groups(rows: Sequence[dict[str, Any]], records: Sequence[Record]) -> list[Group]:
    """Return the pruned rows that may be ranked together, for each ratio.

    They compete, and have the same seeds and photographs. Where rows differ in these, it is
    the largest such set, at equal size the first.
    """
    scores = collect_scores(records)
    values = {key: average_scenes(row_scores) for key, row_scores in scores.items()}
    finished = [
        row
        for row in rows
        if competes(row) and row["ratio"] < 1 and values.get(row_key(row)) is not None
    ]
    groups = []
    for block in group_by(finished, comparison_key):
        alike = group_by(block, lambda row: frozenset(scores[row_key(row)]))
        group = max(alike, key=len)
        groups.append((group, np.array([values[row_key(row)] for row in group])))
    return groups

"""Whether the ranking of methods changes when the budget is counted under another ruler.

For tables that differ in nothing but the convention of the budget: at each ratio, how many pairs of
rows stand in the same order of PSNR.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from bench.report.frame import section
from bench.report.statistics import same_order

Row = Mapping[str, Any]


def agreement(merged: Sequence[Row]) -> list[str]:
    """One sentence, without full stop, for each ratio that has finished rows under several conventions."""
    found: dict[tuple[str, str, float], dict[str, dict[str, float]]] = {}
    for row in merged:
        if row["status"] == "done" and row["ratio"] < 1:
            place = (
                section(dict(row) | {"convention": ""}),
                f"{row['task']} with {row['backbone']}",
                row["ratio"],
            )
            found.setdefault(place, {}).setdefault(row["convention"], {})[row["label"]] = row[
                "psnr_db"
            ]
    return [
        f"{what} at {ratio:g}: {_sentence(one, other, scores)}"
        for (_, what, ratio), scores in found.items()
        for one, other in combinations(scores, 2)
        if len(scores[one].keys() & scores[other].keys()) > 1
    ]


def _sentence(one: str, other: str, scores: Mapping[str, Mapping[str, float]]) -> str:
    """How two rulers agree; ties have no order."""
    ours, theirs = scores[one], scores[other]
    common = [label for label in ours if label in theirs]
    same, pairs = same_order([ours[label] for label in common], [theirs[label] for label in common])
    best = {name: max(common, key=scores[name].__getitem__) for name in (one, other)}
    return (
        f"{same} of {pairs} pairs of rows stand in the same order under {one} and {other} budgets; "
        f"the best row is {best[one]} under {one} and {best[other]} under {other}"
    )

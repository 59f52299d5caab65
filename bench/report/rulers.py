"""Whether the ranking of methods changes when the budget is counted under another ruler.

For tables that differ in nothing but the convention of the budget: at each ratio, how many pairs of rows stand in the same order of PSNR.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from bench.report.frame import section

Row = Mapping[str, Any]


def agreement(merged: Sequence[Row]) -> list[str]:
    """One sentence, without full stop, for each ratio that has finished rows under several conventions."""
    found: dict[tuple[str, float], dict[str, dict[str, float]]] = {}
    for row in merged:
        if row["psnr_db"] is not None and row["ratio"] < 1:
            place = (section(dict(row) | {"convention": ""}), row["ratio"])
            found.setdefault(place, {}).setdefault(row["convention"], {})[row["label"]] = row["psnr_db"]
    return [
        _sentence(ratio, one, other, scores)
        for (_, ratio), scores in found.items()
        for one, other in combinations(scores, 2)
        if len(scores[one].keys() & scores[other].keys()) > 1
    ]


def _sentence(ratio: float, one: str, other: str, scores: Mapping[str, Mapping[str, float]]) -> str:
    """How two rulers agree at a ratio."""
    ours, theirs = scores[one], scores[other]
    common = [label for label in ours if label in theirs]
    pairs = list(combinations(common, 2))
    same = sum((ours[a] - ours[b]) * (theirs[a] - theirs[b]) > 0 for a, b in pairs)
    best = {name: max(common, key=scores[name].__getitem__) for name in (one, other)}
    return (
        f"At {ratio:g}, {same} of {len(pairs)} pairs of rows stand in the same order under {one} and {other} budgets; "
        f"the best row is {best[one]} under {one} and {best[other]} under {other}"
    )

"""Comparison of rankings under several conventions of the budget.

For tables that differ in nothing but the convention: Kendall's tau of the two orders by PSNR, at
each ratio.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

from bench.report.captions import describe_tau
from bench.report.frame import Row, section_key
from bench.report.statistics import compare_orders
from bench.runtimes.registry import RUNTIMES


def describe_agreement(rows: Sequence[Row]) -> list[str]:
    """Return a sentence, without full stop, for each ratio and pair of conventions to compare."""
    scores: dict[tuple[str, str, float], dict[str, dict[str, float]]] = {}
    for row in rows:
        if row["status"] == "done" and row["ratio"] < 1 and not row["run_options"]:
            key = (
                section_key(dict(row) | {"convention": ""}),
                f"{row['task']} with {row['backbone']}",
                row["ratio"],
            )
            by_label = scores.setdefault(key, {}).setdefault(row["convention"], {})
            by_label[row["label"]] = row["psnr_db"]
    return [
        f"{subject} at {ratio:g}: {_compare(first, second, by_convention)}"
        for (_, subject, ratio), by_convention in scores.items()
        for first, second in combinations(by_convention, 2)
        if len(by_convention[first].keys() & by_convention[second].keys()) > 1
    ]


def describe_runtime_orders(section: Sequence[Row]) -> list[str]:
    """Say for each runtime that measured a section how it orders the networks by memory.

    The sentence, without full stop, has Kendall's tau with the order by planned memory.
    """
    sentences = []
    for name, package in RUNTIMES.items():
        rows = [row for row in section if row[f"{name}_bytes"] and row["peak_bytes"]]
        planned = [row["peak_bytes"] for row in rows]
        agreement = compare_orders([row[f"{name}_bytes"] for row in rows], planned)
        if agreement:
            tau = describe_tau(agreement, len(rows))
            sentences.append(
                f"{package.title} and planned memory order the networks with Kendall's tau {tau}"
            )
    return sentences


def _compare(first: str, second: str, scores: Mapping[str, Mapping[str, float]]) -> str:
    """Describe how the rankings of two conventions agree.

    `scores`: convention -> label -> PSNR.
    """
    labels = [label for label in scores[first] if label in scores[second]]
    agreement = compare_orders(
        [scores[first][label] for label in labels], [scores[second][label] for label in labels]
    )
    best = {name: max(labels, key=scores[name].__getitem__) for name in (first, second)}
    tau = describe_tau(agreement, len(labels)) if agreement else "not defined: all rows are equal"
    return (
        f"Kendall's tau of the orders under {first} and {second} budgets is {tau}; "
        f"the best row is {best[first]} under {first} and {best[second]} under {second}"
    )

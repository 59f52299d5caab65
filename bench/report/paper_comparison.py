"""Our rows beside the paper's tables (Shi et al., AAAI 2023: U-Net of width 32 on SIDD), which lie in `paper/` as printed.

Table 1, methods: the first row of a method, in the order of the study, stands for the paper's row
of that method; variants have no counterpart. Where a study varies MOSP's outer or inner stride, its
rows stand beside Table 2 or 3. Ranks are among the rows that both tables have at a ratio, 1 for the
best PSNR. Absolute PSNR of different data cannot be compared; order can.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.records import Cell, Record
from bench.report.frame import rows, section
from bench.report.statistics import same_order
from bench.report.table import MISSING, Face, Marks, Row, number, render_rows, status_text

PAPER = Path(__file__).parent / "paper"
VARIED = {
    "outer_stride": "table2",
    "inner_stride": "table3",
}  # an option that a study varies -> the table that does
SAME_QUESTION = {"task": "denoising", "backbone": "unet"}
UNITS = {"M": 10**6, "K": 10**3}
HEADERS = (
    "label", "ratio", "params, paper", "share", "params, here", "share", "PSNR, paper", "PSNR, here", "rank, paper", "rank, here",
    "difference", "status",
)  # fmt: skip
RANKS = (("paper_rank", "d"), ("rank", "d"), ("rank_difference", "+d"))


@dataclass(frozen=True)
class Published:
    """One row of the paper: parameters (cut off after two decimals, not rounded; "" for none) and PSNR as printed.

    `option` and `value` are what a table of variants varies.
    """

    ratio: float
    method: str
    params: str
    psnr: str
    option: str = ""
    value: str = ""

    @property
    def parameters(self) -> float:
        """The printed number."""
        return count(self.params)

    @property
    def psnr_db(self) -> float:
        """The printed number."""
        return float(self.psnr)

    def is_of(self, row: Row) -> bool:
        """Whether a row answers the same question."""
        return row["method"] == self.method and (
            not self.option or row["method_options"].get(self.option) == self.value
        )


def count(printed: str) -> float:
    """ "0.48M" as a number."""
    return float(printed[:-1]) * UNITS[printed[-1]]


@cache
def published(table: str = "table1") -> tuple[Published, ...]:
    """A table of the paper; 2 and 3 are at half of the peak memory, of MOSP."""
    with (PAPER / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    option = next((name for name, place in VARIED.items() if place == table), "")
    if option:
        return tuple(
            Published(0.5, "mosp", "", line["psnr_db"], option, line[option]) for line in lines
        )
    return tuple(
        Published(float(line["scale"]), line["method"], line["params"], line["psnr_db"])
        for line in lines
    )


def _table_of(block: Sequence[Row]) -> str:
    """The paper's table that asks what the rows ask."""
    ours = [row["method_options"] for row in block if row["method"] == "mosp"]
    return next(
        (
            table
            for option, table in VARIED.items()
            if len({str(options.get(option)) for options in ours}) > 1
        ),
        "table1",
    )


def render_against(records: Sequence[Record], fmt: str = "md", cells: Sequence[Cell] = ()) -> str:
    """Our table with the paper's numbers and ranks, without a newline at its end.

    Raises ConfigError for an unknown format.
    """
    return render_rows(beside(rows(records, cells)), fmt, Face(HEADERS, _columns, _caption))


def has_counterparts(records: Sequence[Record], cells: Sequence[Cell] = ()) -> bool:
    """Whether the paper has a figure for at least two rows that are pruned."""
    return (
        sum(
            row["paper_psnr"] is not None and row["ratio"] < 1
            for row in beside(rows(records, cells))
        )
        > 1
    )


def beside(merged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the paper's parameters (as printed) and PSNR, both ranks, and their difference (ours - paper's); None for none."""
    empty = dict.fromkeys(
        ("paper_parameters", "paper_psnr", "paper_psnr_db", *(name for name, _ in RANKS))
    )
    result = [row | empty for row in merged]
    for _, group in groupby(result, key=section):
        _pair(list(group))
    return result


def _pair(group: list[dict[str, Any]]) -> None:
    """Adds the paper's numbers and both ranks to the rows of one section."""
    for ratio, members in groupby(group, key=lambda row: row["ratio"]):
        block = list(members)
        found = [
            (next(filter(one.is_of, block), None), one)
            for one in published(_table_of(block))
            if one.ratio == ratio
        ]
        pairs = [(row, one) for row, one in found if row is not None]
        pairs = [
            (row, one)
            for row, one in pairs
            if all(row[name] == value for name, value in SAME_QUESTION.items())
        ]
        ranked = [(row, one) for row, one in pairs if row["psnr_db"] is not None]
        for row, one in pairs:
            row.update(
                paper_parameters=one.params or None, paper_psnr=one.psnr, paper_psnr_db=one.psnr_db
            )
        for row, one in ranked if len(ranked) > 1 else []:
            row["paper_rank"] = 1 + sum(other.psnr_db > one.psnr_db for _, other in ranked)
            row["rank"] = 1 + sum(other["psnr_db"] > row["psnr_db"] for other, _ in ranked)
            row["rank_difference"] = row["rank"] - row["paper_rank"]


def _columns(group: Sequence[Row], row: Row, marks: Marks) -> list[str]:
    """The cells of one row, in the order of HEADERS."""
    whole = next(
        (
            other["parameters_stored"]
            for other in group
            if other["ratio"] == 1 and other["parameters_stored"]
        ),
        None,
    )
    unpruned = next(one.parameters for one in published() if one.ratio == 1)
    stored, printed = row["parameters_stored"], row["paper_parameters"]
    return [
        marks.escape(row["label"]),
        f"{row['ratio']:g}",
        printed or MISSING,
        _share(count(printed) / unpruned, marks) if printed else MISSING,
        number(row, "parameters_stored", ",d", marks),
        _share(stored / whole, marks) if stored and whole else MISSING,
        row["paper_psnr"] or MISSING,
        number(row, "psnr_db", ".2f", marks),
        *(MISSING if row[name] is None else f"{row[name]:{form}}" for name, form in RANKS),
        marks.escape(status_text(row)),
    ]


def _share(share: float, marks: Marks) -> str:
    return marks.escape(f"{share:.2%}" if share < 0.01 else f"{share:.0%}")


def _caption(group: Sequence[Row]) -> list[str]:
    """What may be compared, and how many pairs of methods stand in the paper's order."""
    lines = [
        "Paper: Shi et al., AAAI 2023, U-Net of width 32 on SIDD, 80 epochs of pretraining and 20 of fine-tuning; "
        "here other data, widths and steps: compare the order, not the decibels",
        "Parameters are those that must be stored, share is of the unpruned network; rank 1 is the best PSNR among the rows of both "
        "tables; difference is rank here minus rank in the paper",
    ]
    for ratio, block in groupby(group, key=lambda row: row["ratio"]):
        ranked = [row for row in block if row["rank"] is not None]
        agree, pairs = same_order(
            [row["rank"] for row in ranked], [row["paper_rank"] for row in ranked]
        )
        if pairs:
            lines.append(
                f"Ratio {ratio:g}: {agree} of {pairs} pairs of methods stand in the paper's order"
            )
    return lines

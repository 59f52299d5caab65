"""Comparison with the paper's tables (Shi et al., AAAI 2023: U-Net of width 32 on SIDD).

The folder `paper/` holds the tables as printed. In Table 1 (methods) the paper's row of a method is
compared with the first row of that method in the order of the study; variants have no counterpart.
If a study varies the outer or inner stride of MOSP, its rows are compared with Table 2 or 3. Ranks
are among the rows that both tables have at a ratio, 1 for the best PSNR. Absolute PSNR on different
data cannot be compared; order can, by Kendall's tau.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.report.captions import describe_tau, format_status
from bench.report.frame import Row, section_key
from bench.report.results import RunResults
from bench.report.statistics import Agreement, compare_orders
from bench.report.table import (
    MISSING,
    Markup,
    TableLayout,
    format_mean,
    render_rows,
)

PAPER_FOLDER = Path(__file__).parent / "paper"
# An option of MOSP -> the table that varies it.
TABLE_OF_OPTION = {"outer_stride": "table2", "inner_stride": "table3"}
PAPER_SETTING = {"task": "denoising", "backbone": "unet"}
UNITS = {"M": 10**6, "K": 10**3}
HEADERS = (
    "label",
    "ratio",
    "params, paper",
    "share",
    "params, here",
    "share",
    "PSNR, paper",
    "PSNR, here",
    "rank, paper",
    "rank, here",
    "difference",
    "status",
)
RANKS = (("paper_rank", "d"), ("rank", "d"), ("rank_difference", "+d"))
KENDALL = ("kendall_tau", "kendall_interval", "kendall_p_value")


@dataclass(frozen=True)
class PaperRow:
    """One row of a table of the paper.

    Args:
        ratio: of the budget.
        method: by its name here.
        params: parameters as printed, cut off after two decimals, not rounded; "" for none.
        psnr: in dB, as printed.
        option: that the table varies; "" for none.
        value: of the option.
    """

    ratio: float
    method: str
    params: str
    psnr: str
    option: str = ""
    value: str = ""

    @property
    def parameters(self) -> float:
        """The printed number of parameters."""
        return parse_count(self.params)

    @property
    def psnr_db(self) -> float:
        """The printed PSNR."""
        return float(self.psnr)

    def matches(self, row: Row) -> bool:
        """Return whether a row has the same method and option."""
        return row["method"] == self.method and (
            not self.option or row["method_options"].get(self.option) == self.value
        )


def parse_count(printed: str) -> float:
    """Return a printed count such as "0.48M" as a number."""
    return float(printed[:-1]) * UNITS[printed[-1]]


@cache
def read_paper_table(table: str = "table1") -> tuple[PaperRow, ...]:
    """Read a table of the paper; Tables 2 and 3 are of MOSP at half of the peak memory."""
    with (PAPER_FOLDER / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    option = next((name for name, of_table in TABLE_OF_OPTION.items() if of_table == table), "")
    if option:
        return tuple(
            PaperRow(0.5, "mosp", "", line["psnr_db"], option, line[option]) for line in lines
        )
    return tuple(
        PaperRow(float(line["scale"]), line["method"], line["params"], line["psnr_db"])
        for line in lines
    )


def _choose_paper_table(block: Sequence[Row]) -> str:
    """Return the table that varies the same option of MOSP as the rows, else Table 1."""
    variants = [row["method_options"] for row in block if row["method"] == "mosp"]
    return next(
        (
            table
            for option, table in TABLE_OF_OPTION.items()
            if len({str(options.get(option)) for options in variants}) > 1
        ),
        "table1",
    )


def render_paper_comparison(results: RunResults, table_format: str = "md") -> str:
    """Return the table with the paper's numbers and ranks, without a newline at its end.

    Args:
        results: of the run.
        table_format: "md", "csv", "tex" or "json".

    Raises:
        ConfigError: the format is unknown.
    """
    layout = TableLayout(HEADERS, _format_row, _caption)
    return render_rows(add_paper_values(results.rows), table_format, layout)


def has_counterparts(results: RunResults) -> bool:
    """Return whether the paper has a PSNR for at least two pruned rows."""
    rows = add_paper_values(results.rows)
    return sum(row["paper_psnr"] is not None and row["ratio"] < 1 for row in rows) > 1


def add_paper_values(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the paper's parameters and PSNR, both ranks and their difference.

    The difference is our rank minus the paper's. The fields KENDALL are the agreement of both
    orders at the ratio of a ranked row. Fields that do not exist are None.
    """
    empty = dict.fromkeys(
        ("paper_parameters", "paper_psnr", "paper_psnr_db", *(name for name, _ in RANKS), *KENDALL)
    )
    result = [row | empty for row in rows]
    for _, section in groupby(result, key=section_key):
        for ratio, block in groupby(list(section), key=lambda row: row["ratio"]):
            _add_block_values(ratio, list(block))
    return result


def _add_block_values(ratio: float, block: Sequence[dict[str, Any]]) -> None:
    """Add the paper's numbers and both ranks to the rows of one section and ratio."""
    pairs = []
    for paper_row in read_paper_table(_choose_paper_table(block)):
        row = next(filter(paper_row.matches, block), None)
        if (
            paper_row.ratio == ratio
            and row is not None
            and all(row[name] == value for name, value in PAPER_SETTING.items())
        ):
            pairs.append((row, paper_row))
    for row, paper_row in pairs:
        row.update(
            paper_parameters=paper_row.params or None,
            paper_psnr=paper_row.psnr,
            paper_psnr_db=paper_row.psnr_db,
        )
    ranked = [(row, paper_row) for row, paper_row in pairs if row["psnr_db"] is not None]
    if len(ranked) < 2:
        return
    for row, paper_row in ranked:
        row["paper_rank"] = 1 + sum(other.psnr_db > paper_row.psnr_db for _, other in ranked)
        row["rank"] = 1 + sum(other["psnr_db"] > row["psnr_db"] for other, _ in ranked)
        row["rank_difference"] = row["rank"] - row["paper_rank"]
    agreement = compare_orders(
        [row["rank"] for row, _ in ranked], [row["paper_rank"] for row, _ in ranked]
    )
    for row, _ in ranked:
        row.update(zip(KENDALL, agreement or (None, None, None), strict=True))


def _format_row(section: Sequence[Row], row: Row, markup: Markup) -> list[str]:
    """Format the cells of one row, in the order of HEADERS."""
    unpruned = next(
        (
            other["parameters_stored"]
            for other in section
            if other["ratio"] == 1 and other["parameters_stored"]
        ),
        None,
    )
    paper_unpruned = next(
        paper_row.parameters for paper_row in read_paper_table() if paper_row.ratio == 1
    )
    stored = row["parameters_stored"]
    printed = row["paper_parameters"]
    return [
        markup.escape(row["label"]),
        f"{row['ratio']:g}",
        printed or MISSING,
        _format_share(parse_count(printed) / paper_unpruned, markup) if printed else MISSING,
        format_mean(row, "parameters_stored", ",d", markup),
        _format_share(stored / unpruned, markup) if stored and unpruned else MISSING,
        row["paper_psnr"] or MISSING,
        format_mean(row, "psnr_db", ".2f", markup),
        *(
            MISSING if row[name] is None else f"{row[name]:{number_format}}"
            for name, number_format in RANKS
        ),
        markup.escape(format_status(row)),
    ]


def _format_share(share: float, markup: Markup) -> str:
    return markup.escape(f"{share:.2%}" if share < 0.01 else f"{share:.0%}")


def _caption(section: Sequence[Row]) -> list[str]:
    """Return sentences on what may be compared and how far the order is the paper's."""
    sentences = [
        "Paper: Shi et al., AAAI 2023, U-Net of width 32 on SIDD, 80 epochs of pretraining and 20 "
        "of fine-tuning; here other data, widths and steps: compare the order, not the decibels",
        "Parameters are those that must be stored, share is of the unpruned network; rank 1 is "
        "the best PSNR among the rows of both tables; difference is rank here minus rank in the "
        "paper",
    ]
    for ratio, block in groupby(section, key=lambda row: row["ratio"]):
        ranked = [row for row in block if row["rank"] is not None]
        if ranked and ranked[0]["kendall_tau"] is not None:
            agreement = Agreement(*(ranked[0][name] for name in KENDALL))
            sentences.append(
                f"Ratio {ratio:g}: Kendall's tau with the paper's order is "
                f"{describe_tau(agreement, len(ranked))}"
            )
    return sentences

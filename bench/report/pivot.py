"""The small table: a line for each label, a column for each ratio, PSNR in the cells.

Lines are in the order of their mean PSNR, so that the best is first; those that lack a ratio are
last. Unpruned rows come before them.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from bench.report.captions import section_title
from bench.report.frame import Row, is_reference
from bench.report.ranks import find_mark
from bench.report.results import RunResults
from bench.report.table import LATEX, MISSING, format_mean, latex_line


class Pivot(NamedTuple):
    """The rows of a section by label and ratio.

    Args:
        unpruned: rows at ratio 1.
        ratios: below 1, the largest first.
        lines: label -> its row at each ratio, None where there is none.
    """

    unpruned: list[Row]
    ratios: list[float]
    lines: dict[str, list[Row | None]]


def build_pivot(section: Sequence[Row]) -> Pivot:
    """Arrange the rows of one section."""
    pruned = [row for row in section if row["ratio"] < 1 and not is_reference(row)]
    ratios = sorted({row["ratio"] for row in pruned}, reverse=True)
    lines: dict[str, list[Row | None]] = {
        label: [
            next((row for row in pruned if (row["label"], row["ratio"]) == (label, ratio)), None)
            for ratio in ratios
        ]
        for label in dict.fromkeys(row["label"] for row in pruned)
    }
    order = sorted(lines, key=lambda label: -_mean_psnr_db(lines[label]))
    unpruned = [row for row in section if row["ratio"] == 1]
    return Pivot(unpruned, ratios, {label: lines[label] for label in order})


def _mean_psnr_db(rows: Sequence[Row | None]) -> float:
    values = [row["psnr_db"] for row in rows if row is not None and row["psnr_db"] is not None]
    return fmean(values) if len(values) == len(rows) else float("-inf")


def render_latex(results: RunResults) -> str:
    r"""Return a LaTeX table for each section, without a newline at its end.

    The best PSNR of a ratio is bold, the second underlined; ± is half of the 95 % interval over
    seeds. It needs \usepackage{booktabs}.
    """
    tables = [_render_section(section.rows) for section in results.split_sections()]
    return "\n\n".join(["% needs \\usepackage{booktabs}", *tables])


def _render_section(section: Sequence[Row]) -> str:
    pivot = build_pivot(section)
    caption = f"PSNR in dB by share of the unpruned peak memory: {section_title(section[0])}."
    head = ["method", *(f"{ratio:g}" for ratio in pivot.ratios)]
    count = max(1, len(pivot.ratios))
    across = f"\\multicolumn{{{count}}}{{c}}"
    unpruned = [
        latex_line([LATEX.escape(row["label"]), f"{across}{{{_format_cell(section, row)}}}"])
        for row in pivot.unpruned
    ]
    lines = [
        latex_line([LATEX.escape(label), *(_format_cell(section, row) for row in rows)])
        for label, rows in pivot.lines.items()
    ]
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{LATEX.escape(caption)}}}",
            f"\\begin{{tabular}}{{l{'r' * count}}}",
            "\\toprule",
            latex_line(head),
            "\\midrule",
            *unpruned,
            *(["\\midrule"] if unpruned and lines else []),
            *lines,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    )


def _format_cell(section: Sequence[Row], row: Row | None) -> str:
    """Format the PSNR of a row; its status if it has none, for example "infeasible"."""
    if row is None:
        return MISSING
    if row["psnr_db"] is None:
        return str(row["status"])
    text = format_mean(row, "psnr_db", ".2f", LATEX)
    mark = find_mark(section, row) if row["ratio"] < 1 else ""
    return getattr(LATEX, mark).format(text) if mark else text

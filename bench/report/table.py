"""The table of a run: md for people and terminals, tex with booktabs, csv and json for programs.

md and tex have one table per section (same task, network, input and convention: rows that may be
compared), with a caption on what was equal and what was not. The best PSNR of each ratio is bold,
the second best italic (md) or underlined (tex). Notes below the table say why rows have no result.
csv and json have exact numbers.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.errors import ConfigError, one_line
from bench.report.captions import (
    format_status,
    format_verdict,
    row_notes,
    section_caption,
    section_title,
)
from bench.report.columns import format_columns
from bench.report.components import describe_components
from bench.report.convention_agreement import describe_agreement, describe_runtime_orders
from bench.report.frame import MAX_FIELDS, MEMORY_FIELDS, TIME_FIELDS, Row, section_key
from bench.report.ranks import find_mark, format_rank
from bench.report.results import RunResults
from bench.runtimes.registry import RUNTIMES
from bench.units import mib

FORMATS = ("md", "csv", "tex", "json")
MISSING = "-"
GIGA = 10**9
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets run what begins so
COST_COLUMNS = {  # header -> field, format
    "steps": ("steps", ",d"),
    "sum of rates": ("rate_sum", ".3f"),
    "samples": ("samples", ",d"),
    "passes": ("forward_passes", ",d"),
    "seconds": ("seconds", ",.0f"),
}
_EXECUTORS = ("measured", "lean", "ONNX", *(package.title for package in RUNTIMES.values()))
MEASUREMENT_HEADERS = {
    "budget MiB": "budget_bytes",
    "peak MiB": "peak_bytes",
    "eager MiB": "peak_bytes_eager",
    "as run MiB": "as_run_peak_bytes",
    **dict(zip((f"{name} MiB" for name in _EXECUTORS), MEMORY_FIELDS, strict=True)),
    "GMACs": "macs",
    "s/image": "image_seconds",
    "time": "relative_time",
    **dict(zip((f"{name} s/image" for name in _EXECUTORS), TIME_FIELDS, strict=True)),
}
ALWAYS_SHOWN = ("budget_bytes", "peak_bytes", "peak_bytes_eager", "macs")


@dataclass(frozen=True)
class Markup:
    """The syntax of a format for emphasis, a spread and plain text."""

    bold: str
    second: str
    plus_minus: str
    escape: Callable[[str], str]


@dataclass(frozen=True)
class TableLayout:
    """The content of a table for people.

    Args:
        headers: the first and the last column are texts, the others numbers.
        format_row: returns the texts of one row of a section, in the order of the headers.
        caption: returns sentences, without full stop, on a section.
    """

    headers: Sequence[str]
    format_row: Callable[[Sequence[Row], Row, Markup], list[str]]
    caption: Callable[[Sequence[Row]], list[str]]


def render_table(results: RunResults, table_format: str = "md") -> str:
    """Return the table of a run as text, without a newline at its end.

    Args:
        results: of the run.
        table_format: "md", "csv", "tex" or "json".

    Raises:
        ConfigError: the format is unknown.
    """
    text = render_rows(results.rows, table_format, full_layout(results))
    agreement = describe_agreement(results.rows) if table_format == "md" else []
    if not agreement:
        return text
    return "\n".join([text, "", *(f"- {_escape_markdown(line)}" for line in agreement)])


def full_layout(results: RunResults) -> TableLayout:
    """Return the layout of the table with all columns."""
    rows = results.rows
    measurements = measurement_columns(rows)
    standing = standing_columns(rows)
    headers = [*measurements, "parameters", "stored", "PSNR dB", *standing, "SSIM", *COST_COLUMNS]
    return TableLayout(
        ("label", "ratio", *headers, "status"),
        lambda section, row, markup: _format_row(
            section, row, markup, measurements.values(), standing.values()
        ),
        lambda section: [
            *section_caption(section),
            *describe_runtime_orders(section),
            *describe_components(section, results.records),
        ],
    )


def render_rows(rows: Sequence[dict[str, Any]], table_format: str, layout: TableLayout) -> str:
    """Return rows as a table; csv and json have all their fields, whatever the layout.

    Raises ConfigError for an unknown format.
    """
    writers: dict[str, Callable[[Sequence[dict[str, Any]], TableLayout], str]] = {
        "md": _format_markdown,
        "csv": _format_csv,
        "tex": _format_latex,
        "json": _format_json,
    }
    if table_format not in writers:
        raise ConfigError(
            f"unknown table format '{table_format}'; choose one of {', '.join(FORMATS)}"
        )
    return writers[table_format](rows, layout)


def _format_json(rows: Sequence[dict[str, Any]], _: TableLayout) -> str:
    """Return a list of rows; bytes and counts are integers."""
    return json.dumps(rows, indent=1)


def _format_csv(rows: Sequence[dict[str, Any]], _: TableLayout) -> str:
    """Return one line per row, with options and recipe as JSON; ' is put before formulas."""
    text = io.StringIO()
    columns = list(rows[0]) if rows else ["task", "backbone", "method", "label"]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _format_csv_value(value) for name, value in row.items()})
    return text.getvalue().rstrip("\n")


def _format_csv_value(value: Any) -> Any:
    """Return a value for a cell; a spreadsheet would run a text that begins like a formula."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _format_markdown(rows: Sequence[Row], layout: TableLayout) -> str:
    """Return a heading, an aligned table, a caption and notes for each section."""
    parts = []
    markup = Markup("**{}**", "*{}*", " ± ", _escape_markdown_cell)
    align = ["left", *["right"] * (len(layout.headers) - 2), "left"]
    for section in _split_sections(rows):
        lines = [layout.format_row(section, row, markup) for row in section]
        table = format_columns(lines, layout.headers, align, "pipe")
        sentences = layout.caption(section) + row_notes(section)
        notes = [f"- {_escape_markdown(sentence)}" for sentence in sentences]
        heading = f"### {_escape_markdown(section_title(section[0]))}"
        parts.append("\n".join([heading, "", table, "", *notes]))
    return "\n\n".join(parts) or "No records and no cells: this folder holds no study yet."


def _escape_markdown_cell(text: str) -> str:
    """Escape plain text for a cell of a Markdown table."""
    return _escape_markdown(text).replace("|", "\\|")


def _escape_markdown(text: str) -> str:
    """Escape plain text for a line of Markdown, so that it cannot begin an HTML element."""
    return one_line(text).replace("<", "&lt;")


def _format_latex(rows: Sequence[Row], layout: TableLayout) -> str:
    r"""Return a table environment per section, with a rule between the ratios.

    It needs \usepackage{booktabs}.
    """
    parts = []
    align = f"l{'r' * (len(layout.headers) - 2)}l"
    for section in _split_sections(rows):
        blocks = []
        for _, block in groupby(section, key=lambda row: row["ratio"]):
            lines = [latex_line(layout.format_row(section, row, LATEX)) for row in block]
            blocks.append("\n".join(lines))
        sentences = [section_title(section[0]), *layout.caption(section), *row_notes(section)]
        caption = " ".join(_escape_latex(f"{sentence}.") for sentence in sentences)
        lines = [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{{align}}}",
            "\\toprule",
            latex_line(layout.headers),
            "\\midrule",
            "\n\\midrule\n".join(blocks),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
        parts.append("\n".join(lines))
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts)


def latex_line(columns: Sequence[str]) -> str:
    """Return one line of a LaTeX table."""
    return " & ".join(columns) + " \\\\"


def _escape_latex(text: str) -> str:
    """Escape plain text for LaTeX."""
    special = {
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "±": "$\\pm$",
        "·": "$\\cdot$",
    }
    return "".join(
        special.get(character, f"\\{character}" if character in "&%$#_{}" else character)
        for character in one_line(text)
    )


LATEX = Markup("\\textbf{{{}}}", "\\underline{{{}}}", " $\\pm$ ", _escape_latex)


def _split_sections(rows: Sequence[Row]) -> list[list[Row]]:
    return [list(section) for _, section in groupby(rows, key=section_key)]


def measurement_columns(rows: Sequence[Row]) -> dict[str, str]:
    """Return header -> field of the memory and time columns.

    Columns of runs are included only if a row has such a measurement.
    """
    return {
        header: name
        for header, name in MEASUREMENT_HEADERS.items()
        if name in ALWAYS_SHOWN or any(row[name] for row in rows)
    }


def format_measurement(row: Row, name: str) -> str:
    """Format one field of `measurement_columns`: in MiB, seconds, 10^9 MACs, or as a share."""
    if row[name] is None:
        return MISSING
    if name in MAX_FIELDS:
        return f"{mib(row[name]):.1f}"
    return f"{row[name] / (GIGA if name == 'macs' else 1):.2f}"


def standing_columns(rows: Sequence[Row]) -> dict[str, Callable[[Row], str]]:
    """Return header -> text of a row, for rank, verdict and Pareto front, if there is one."""
    columns: dict[str, Callable[[Row], str]] = {}
    if any(row["psnr_rank"] for row in rows):
        columns["rank"] = format_rank
    if any(row["verdict"] for row in rows):
        columns["verdict"] = format_verdict
    if any(row["relative_time"] for row in rows):
        columns["front"] = lambda row: "yes" if row["on_front"] else MISSING
    return columns


def _format_row(
    section: Sequence[Row],
    row: Row,
    markup: Markup,
    measurements: Iterable[str],
    standing: Iterable[Callable[[Row], str]],
) -> list[str]:
    """Format the cells of one row, in the order of the headers."""
    psnr = format_mean(row, "psnr_db", ".2f", markup)
    mark = find_mark(section, row)
    has_own_stored = row["parameters_stored"] != row["parameters"]
    return [
        markup.escape(row["label"]),
        f"{row['ratio']:g}",
        *(format_measurement(row, name) for name in measurements),
        format_mean(row, "parameters", ",d", markup),
        format_mean(row, "parameters_stored", ",d", markup) if has_own_stored else MISSING,
        getattr(markup, mark).format(psnr) if mark else psnr,
        *(describe(row) for describe in standing),
        format_mean(row, "ssim", ".4f", markup),
        *(format_mean(row, *column, markup) for column in COST_COLUMNS.values()),
        markup.escape(format_status(row)),
    ]


def format_mean(row: Row, name: str, number_format: str, markup: Markup) -> str:
    """Format a mean, with half of its 95 % interval if it has one."""
    if row[name] is None:
        return MISSING
    mean = format(row[name], number_format)
    half = row.get(f"{name}_half95")
    if half is None:
        return mean
    return mean + markup.plus_minus + format(half, number_format.lstrip("+"))

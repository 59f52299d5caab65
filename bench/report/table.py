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
from bench.records import describe_outcome
from bench.report.columns import format_columns
from bench.report.convention_agreement import describe_agreement
from bench.report.frame import MEMORY_FIELDS, TIME_FIELDS, Row, section_key
from bench.report.results import RunResults
from bench.units import mib

FORMATS = ("md", "csv", "tex", "json")
MISSING = "-"
COST_COLUMNS = {  # header -> field, format
    "steps": ("steps", ",d"),
    "sum of rates": ("rate_sum", ".3f"),
    "samples": ("samples", ",d"),
    "passes": ("forward_passes", ",d"),
    "seconds": ("seconds", ",.0f"),
}
HEADERS = ("parameters", "stored", "PSNR dB", "SSIM", *COST_COLUMNS, "status")
MEASUREMENT_HEADERS = {
    "budget MiB": "budget_bytes",
    "peak MiB": "peak_bytes",
    "eager MiB": "peak_bytes_eager",
    **dict(zip(("measured MiB", "lean MiB", "ONNX MiB"), MEMORY_FIELDS, strict=True)),
    **dict(zip(("s/image", "lean s/image", "ONNX s/image"), TIME_FIELDS, strict=True)),
}
RANK_MARKS = ("bold", "second")


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
    columns = measurement_columns(results.rows)
    layout = TableLayout(
        ("label", "ratio", *columns, *HEADERS),
        lambda section, row, markup: _format_row(section, row, markup, columns.values()),
        section_caption,
    )
    text = render_rows(results.rows, table_format, layout)
    agreement = describe_agreement(results.rows) if table_format == "md" else []
    if not agreement:
        return text
    return "\n".join([text, "", *(f"- {_escape_markdown(line)}" for line in agreement)])


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
    """Return one line per row, with options and recipe as JSON."""
    text = io.StringIO()
    columns = list(rows[0]) if rows else ["task", "backbone", "method", "label"]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: json.dumps(value) if isinstance(value, dict | list) else value
                for name, value in row.items()
            }
        )
    return text.getvalue().rstrip("\n")


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
    markup = Markup("\\textbf{{{}}}", "\\underline{{{}}}", " $\\pm$ ", _escape_latex)
    align = f"l{'r' * (len(layout.headers) - 2)}l"
    for section in _split_sections(rows):
        blocks = []
        for _, block in groupby(section, key=lambda row: row["ratio"]):
            lines = [_latex_line(layout.format_row(section, row, markup)) for row in block]
            blocks.append("\n".join(lines))
        sentences = [section_title(section[0]), *layout.caption(section), *row_notes(section)]
        caption = " ".join(_escape_latex(f"{sentence}.") for sentence in sentences)
        lines = [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{{align}}}",
            "\\toprule",
            _latex_line(layout.headers),
            "\\midrule",
            "\n\\midrule\n".join(blocks),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
        parts.append("\n".join(lines))
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts)


def _latex_line(columns: Sequence[str]) -> str:
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


def _split_sections(rows: Sequence[Row]) -> list[list[Row]]:
    return [list(section) for _, section in groupby(rows, key=section_key)]


def measurement_columns(rows: Sequence[Row]) -> dict[str, str]:
    """Return header -> field of the memory and time columns.

    Columns of real runs are included only if a row has such a measurement.
    """
    return {
        header: name
        for header, name in MEASUREMENT_HEADERS.items()
        if name not in (*MEMORY_FIELDS, *TIME_FIELDS) or any(row[name] for row in rows)
    }


def format_measurement(row: Row, name: str) -> str:
    """Format one field of `measurement_columns`: in MiB, or in seconds."""
    if row[name] is None:
        return MISSING
    return f"{row[name]:.2f}" if name in TIME_FIELDS else f"{mib(row[name]):.1f}"


def _format_row(
    section: Sequence[Row], row: Row, markup: Markup, measurements: Iterable[str]
) -> list[str]:
    """Format the cells of one row: label, ratio, measurements, and the columns of HEADERS."""
    psnr = format_mean(row, "psnr_db", ".2f", markup)
    rank = psnr_rank(section, row)
    has_own_stored = row["parameters_stored"] != row["parameters"]
    return [
        markup.escape(row["label"]),
        f"{row['ratio']:g}",
        *(format_measurement(row, name) for name in measurements),
        format_mean(row, "parameters", ",d", markup),
        format_mean(row, "parameters_stored", ",d", markup) if has_own_stored else MISSING,
        psnr if rank is None else getattr(markup, RANK_MARKS[rank]).format(psnr),
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


def psnr_rank(section: Sequence[Row], row: Row) -> int | None:
    """Return 0 if a row has the best PSNR of its ratio, 1 for the second best, else None.

    Only finished rows have a rank, to the decimals shown, and only if the ratio has several.
    """
    done = [
        other for other in section if other["status"] == "done" and other["psnr_db"] is not None
    ]
    rivals = [round(other["psnr_db"], 2) for other in done if other["ratio"] == row["ratio"]]
    if len(rivals) < 2 or not any(row is other for other in done):
        return None
    best = sorted(set(rivals), reverse=True)[: len(RANK_MARKS)]
    own = round(row["psnr_db"], 2)
    return best.index(own) if own in best else None


def format_status(row: Row) -> str:
    """Format the status of a row: "done", or with the number of its seeds "1 of 3 pending"."""
    if row["status"] == "done" or row["seeds_asked"] == 1:
        return str(row["status"])
    count = row["statuses"][row["status"]]
    if count == row["seeds_asked"]:
        return str(row["status"])
    return f"{count} of {row['seeds_asked']} {row['status']}"


def section_title(row: Row) -> str:
    """Return the title of the section of a row: "denoising · unet (width 8)"."""
    options = ", ".join(f"{name} {value}" for name, value in row["backbone_options"].items())
    convention = "" if row["convention"] == "planned" else f", {row['convention']} budget"
    return f"{row['task']} · {row['backbone']}" + (f" ({options})" if options else "") + convention


def section_caption(section: Sequence[Row]) -> list[str]:
    """Return sentences, without full stop, on what is equal in a section and on the columns."""
    first = section[0]
    seeds = sorted({seed for row in section for seed in row["seed_values"]})
    several = "; peaks are the largest over the seeds, other numbers means" * (len(seeds) > 1)
    if any(row["psnr_db_half95"] is not None for row in section):
        several += (
            "; ± is half of the 95 % interval over seeds, on these photographs (Student's, for "
            "normal values)"
        )
    sentences = [
        f"Budget and ratio: {first['convention']} peak memory of the activations at an input of "
        f"{first['measured_at']}; weights are not counted; peak MiB is planned, eager MiB what "
        "the operators as written need",
        f"Data {_join_values(section, 'data')}; {'seeds' if len(seeds) > 1 else 'seed'} "
        f"{', '.join(map(str, seeds))}{several}",
        _describe_training(section),
    ]
    if any((row["parameters_stored"] or 0) > (row["parameters"] or 0) for row in section):
        sentences.append(
            "Parameters are those that are executed; stored: where more must be stored, because "
            "several widths share them"
        )
    machines = dict.fromkeys(row["measured_on"] for row in section if row["measured_on"])
    if machines:
        sentences.append(
            "Measured: what one forward pass of PyTorch, of the lean executor, of ONNX Runtime "
            f"allocated, on {'; '.join(machines)}"
        )
    scored = [row for row in section if row["input_psnr_db"] is not None]
    if scored:
        psnr_db = scored[0]["input_psnr_db"]
        ssim = scored[0]["input_ssim"] or 0
        sentences.append(
            f"Without a network the photographs have {psnr_db:.2f} dB, SSIM {ssim:.4f}"
        )
    sentences.append(
        "Samples, forward passes and seconds cover all phases after the shared pretraining and all "
        "networks; testing counts only in the seconds, and work that serves several budgets counts "
        "for each of them"
    )
    if any(psnr_rank(section, row) is not None for row in section):
        sentences.append(
            "Bold: the best PSNR of a ratio among finished rows; italic or underlined: "
            "the second best"
        )
    return sentences


def _join_values(section: Sequence[Row], name: str) -> str:
    return ", ".join(dict.fromkeys(str(row[name]) for row in section))


def _describe_training(section: Sequence[Row]) -> str:
    """Describe how many training steps rows had, as recorded, and whether they were equal."""
    shared = ", ".join(dict.fromkeys(f"{row['recipe']['pretrain_steps']:,}" for row in section))
    text = f"Steps: training steps spent after the shared pretraining of {shared}"
    steps = {
        row["steps"] - row["pretrain_steps_spent"]
        for row in section
        if row["steps"] and row["ratio"] < 1
    }
    if len(steps) == 1:
        text += f"; equal training: {steps.pop():,} for every pruned row"
    elif steps:
        text += f"; not equal: {min(steps):,} to {max(steps):,}"
    sums = [row["tuning_rate_sum"] for row in section if row["tuning_rate_sum"]]
    if sums:
        text += f"; the learning rates of these steps have a sum of {min(sums):.3f}" + (
            f" to {max(sums):.3f}" if max(sums) > 1.02 * min(sums) else ""
        )
    if any(row["pretrain_steps_spent"] for row in section):
        text += "; rows trained from scratch repeat the pretraining, and their steps include it"
    return text


def row_notes(section: Sequence[Row]) -> list[str]:
    """Return a sentence for each row that has no result or that carries a note."""
    refused = [
        f"{_name_row(row)} {describe_outcome(row['status'], row['phase'], row['reason'])}"
        for row in section
        if row["reason"] and row["status"] != "done"
    ]
    return refused + [f"{_name_row(row)}: {row['note']}" for row in section if row["note"]]


def _name_row(row: Row) -> str:
    """Return the name of a row in notes: "mosp at 0.5"."""
    return f"{row['label']} at {row['ratio']:g}"

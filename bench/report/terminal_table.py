"""The table of a run for a terminal: a row for each label, a column for each budget, PSNR in dB.

Lines are in the order of `bench.report.pivot`. Columns that do not fit side by side stand below
each other. `*` marks the best PSNR of a budget, `>` the rows of MOSP, `~` a mean of which some
seeds are still to come.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from textwrap import wrap
from typing import Any

from bench.errors import ConfigError, describe_unknown, one_line
from bench.report.captions import format_status, row_notes, section_title, shorten_label
from bench.report.columns import format_columns
from bench.report.frame import MAIN_METHOD, Row
from bench.report.headlines import describe_evidence
from bench.report.pivot import build_pivot
from bench.report.ranks import find_mark
from bench.report.results import RunResults
from bench.report.table import Markup, TableLayout, full_layout, render_rows

TITLE = "PSNR in dB by share of the unpruned peak memory"
WIDTH = 80
MIN_LABEL_CHARACTERS = 24
GAP = 2  # spaces between columns
EXACT_FORMATS = ("csv", "json")
TEXT_COLUMNS = ("label", "verdict", "status")
PLAIN = Markup("*{}", "{}", " ± ", one_line)
BOLD, PLAIN_AGAIN = "\x1b[1m", "\x1b[0m"


def render_pivot(results: RunResults, width: int = WIDTH, bold: bool = False) -> str:
    """Return the table as text, without a newline at its end.

    Args:
        results: of a run.
        width: characters of a line.
        bold: print the best of a budget and the rows of MOSP bold, by the codes of a terminal.
    """
    sections = [_format_section(section, width, bold) for section in results.split_sections()]
    return "\n\n".join(sections) or "No records and no cells: this folder holds no study yet."


def _format_section(section: RunResults, width: int, bold: bool) -> str:
    """Return the title, the tables and the notes of one section."""
    rows = section.rows
    columns = _make_columns(rows)
    pivot = build_pivot(rows)
    labels = list(dict.fromkeys([*(row["label"] for row in pivot.unpruned), *pivot.lines]))
    main = {row["label"] for row in rows if row["method"] == MAIN_METHOD}
    needed = sum(_column_width(column) for column in columns)
    room = max(MIN_LABEL_CHARACTERS, width - 1 - GAP - needed)
    names = {label: shorten_label(one_line(label), room) for label in labels}
    free = width - 1 - GAP - max(map(len, names.values()))
    parts = [f"{one_line(section_title(rows[0]))}\n{TITLE}"]
    for chunk in _split_columns(columns, free):
        lines = [
            [">" if label in main else "", names[label], *(column[label] for column in chunk)]
            for label in labels
            if any(column[label] for column in chunk)
        ]
        if bold:
            lines = [_make_bold(line) for line in lines]
        headers = ["", "", *(column[""] for column in chunk)]
        align = ["left", "left", *["right"] * len(chunk)]
        # As a line among the others: tabulate makes columns wider than their headers.
        parts.append(format_columns([headers, *lines], (), align))
    notes = [line for note in _describe(section) for line in wrap(one_line(f"{note}."), width)]
    return "\n\n".join([*parts, "\n".join(notes)])


def _make_columns(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return label -> text for each budget, and for the steps if they differ; "" has the header."""
    labels = dict.fromkeys(row["label"] for row in rows)
    columns = []
    for ratio in sorted({row["ratio"] for row in rows}, reverse=True):
        texts = {row["label"]: _format_psnr(rows, row) for row in rows if row["ratio"] == ratio}
        columns.append({"": f"{ratio:g}"} | dict.fromkeys(labels, "") | texts)
    steps: dict[str, int] = {}
    for row in rows:
        if row["steps"] is not None:
            steps[row["label"]] = max(steps.get(row["label"], 0), row["steps"])
    if len(set(steps.values())) > 1:
        texts = {label: f"{count:,}" for label, count in steps.items()}
        columns.append({"": "steps"} | dict.fromkeys(labels, "") | texts)
    return columns


def _format_psnr(rows: Sequence[Row], row: Row) -> str:
    if row["psnr_db"] is None:
        return format_status(row)
    half = row["psnr_db_half95"]
    text = f"{row['psnr_db']:.2f}" + ("" if half is None else f" ± {half:.2f}")
    if row["status"] != "done":
        return f"~{text}"
    return f"*{text}" if find_mark(rows, row) == "bold" else text


def _column_width(column: dict[str, str]) -> int:
    return GAP + max(map(len, column.values()))


def _split_columns(columns: Sequence[dict[str, str]], free: int) -> Iterator[list[dict[str, str]]]:
    """Yield the columns that fit side by side into so many characters, at least one."""
    chunk: list[dict[str, str]] = []
    for column in columns:
        if chunk and sum(map(_column_width, [*chunk, column])) > free:
            yield chunk
            chunk = []
        chunk.append(column)
    yield chunk


def _make_bold(line: list[str]) -> list[str]:
    """Make the name of a marked row and the marked cells bold."""
    mark, name, *cells = line
    texts = [f"{BOLD}{text}{PLAIN_AGAIN}" if text.startswith("*") else text for text in cells]
    return [mark, f"{BOLD}{name}{PLAIN_AGAIN}" if mark else name, *texts]


def _describe(section: RunResults) -> Iterator[str]:
    """Yield sentences, without full stop, on what the numbers say and on rows without one."""
    rows = section.rows
    yield _describe_evidence(rows)
    marks = ["* best of its budget"] if any(find_mark(rows, row) for row in rows) else []
    if any(row["method"] == MAIN_METHOD for row in rows):
        marks.append("> MOSP")
    if any(row["psnr_db_half95"] is not None for row in rows):
        marks.append("± half of the 95 % interval over seeds, on these photographs")
    if any(row["status"] != "done" and row["psnr_db"] is not None for row in rows):
        marks.append("~ some seeds are missing")
    if marks:
        yield "; ".join(marks)
    yield from row_notes([row for row in rows if row["status"] != "done" or row["findings"]])


def _describe_evidence(rows: Sequence[Row]) -> str:
    """Return a sentence on what the differences between rows rest on."""
    if all(row["psnr_db"] is None for row in rows):
        return "No row is finished"
    return describe_evidence(rows).rstrip(".") or (
        "No row is compared with MOSP, so no difference is tested; "
        "prunebench table RUN --against LABEL compares with another row"
    )


def render_columns(results: RunResults, table_format: str, names: Sequence[str]) -> str:
    """Return the table with some columns: those of its header, in csv and json the fields.

    Args:
        results: of a run.
        table_format: "text", "md", "csv", "tex" or "json".
        names: such as "label", "peak MiB" or "peak_mib".

    Raises:
        ConfigError: there is no such column.
    """
    layout = full_layout(results)
    if table_format in EXACT_FORMATS:
        fields = _find_columns(names, list(results.rows[0]) if results.rows else list(names))
        rows = [{field: row[field] for field in fields} for row in results.rows]
        return render_rows(rows, table_format, layout)
    layout = _select_columns(layout, names)
    if table_format != "text":
        return render_rows(results.rows, table_format, layout)
    align = ["left" if name in TEXT_COLUMNS else "right" for name in layout.headers]
    parts = []
    for section in results.split_sections():
        lines = [layout.format_row(section.rows, row, PLAIN) for row in section.rows]
        table = format_columns(lines, layout.headers, align)
        parts.append(f"{section_title(section.rows[0])}\n\n{table}")
    return "\n\n".join(parts)


def _select_columns(layout: TableLayout, names: Sequence[str]) -> TableLayout:
    headers = _find_columns(names, layout.headers)
    indices = [list(layout.headers).index(header) for header in headers]

    def format_row(section: Sequence[Row], row: Row, markup: Markup) -> list[str]:
        texts = layout.format_row(section, row, markup)
        return [texts[index] for index in indices]

    return replace(layout, headers=headers, format_row=format_row)


def _find_columns(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the known columns of these names; "peak_mib" is "peak MiB"."""
    columns = {_normalize(name): name for name in known}
    for name in names:
        if _normalize(name) not in columns:
            raise ConfigError(describe_unknown("column", name, columns))
    return [columns[_normalize(name)] for name in names]


def _normalize(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower())


def select_ratios(results: RunResults, ratios: Sequence[float]) -> RunResults:
    """Return the results at some ratios.

    Raises:
        ConfigError: no row has one of the ratios.
    """
    known: dict[float, Any] = dict.fromkeys(row["ratio"] for row in results.rows)
    for ratio in ratios:
        if ratio not in known:
            raise ConfigError(
                f"no row has the ratio {ratio:g}; the ratios are "
                f"{', '.join(f'{value:g}' for value in known) or 'none'}"
            )
    rows = [row for row in results.rows if row["ratio"] in ratios]
    return replace(results, rows=rows)

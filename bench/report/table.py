"""Records as a table: md for people (and terminals), tex with booktabs, csv and json with exact numbers for programs.

md and tex have one table per question that may be compared (same task, network, input, convention),
with the caption that such a table needs: what was equal, what was not. The best PSNR of each ratio
is bold, the second best italic (md) or underlined (tex). Rows without an answer say why below the
table.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.errors import ConfigError, one_line
from bench.records import Cell, Record, refusal
from bench.report.convention_agreement import agreement
from bench.report.frame import COSTS, MEASURED, TIMED, rows, section
from bench.units import mib

Row = Mapping[str, Any]
FORMATS = ("md", "csv", "tex", "json")
MISSING = "-"


@dataclass(frozen=True)
class Marks:
    """How a format writes emphasis, a spread and plain text."""

    bold: str
    second: str
    plus_minus: str
    escape: Callable[[str], str]


@dataclass(frozen=True)
class Face:
    """What a table for people shows of the rows.

    Args:
        headers: the first and the last column are texts, the others numbers.
        columns: the texts of one row of a section, in the order of the headers.
        caption: sentences, without full stop, on a section.
    """

    headers: Sequence[str]
    columns: Callable[[Sequence[Row], Row, Marks], list[str]]
    caption: Callable[[Sequence[Row]], list[str]]


def render(records: Sequence[Record], fmt: str = "md", cells: Sequence[Cell] = ()) -> str:
    """The table as text, without a newline at its end.

    Args:
        records: what has been answered.
        fmt: "md", "csv", "tex" or "json".
        cells: what has been asked; those without a record are shown as pending.

    Raises:
        ConfigError: an unknown format.
    """
    merged = rows(records, cells)
    peaks = peak_columns(merged)
    headers = ("label", "ratio", *peaks, *HEADERS)
    text = render_rows(
        merged,
        fmt,
        Face(
            headers, lambda group, row, marks: _columns(group, row, marks, peaks.values()), caption
        ),
    )
    return (
        "\n".join([text, "", *(f"- {_line(line)}" for line in agreed)])
        if fmt == "md" and (agreed := agreement(merged))
        else text
    )


def render_rows(merged: list[dict[str, Any]], fmt: str, face: Face) -> str:
    """The same for rows; csv and json have all of their fields, whatever the face.

    Raises ConfigError for an unknown format.
    """
    writers: dict[str, Callable[[list[dict[str, Any]], Face], str]] = {
        "md": _markdown,
        "csv": _csv,
        "tex": _latex,
        "json": _json,
    }
    if fmt not in writers:
        raise ConfigError(f"unknown table format '{fmt}'; choose one of {', '.join(FORMATS)}")
    return writers[fmt](merged, face)


def _json(merged: list[dict[str, Any]], _: Face) -> str:
    """A list of rows; bytes and counts are integers."""
    return json.dumps(merged, indent=1)


def _csv(merged: list[dict[str, Any]], _: Face) -> str:
    """One line per row; options and recipe as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text,
        list(merged[0]) if merged else ["task", "backbone", "method", "label"],
        lineterminator="\n",
    )
    writer.writeheader()
    for row in merged:
        writer.writerow(
            {
                name: json.dumps(value) if isinstance(value, dict | list) else value
                for name, value in row.items()
            }
        )
    return text.getvalue().rstrip("\n")


def _markdown(merged: list[dict[str, Any]], face: Face) -> str:
    """A heading, an aligned table, a caption and the reasons, per section."""
    from tabulate import tabulate

    parts, marks = [], Marks("**{}**", "*{}*", " ± ", _escaped)
    for group in _sections(merged):
        columns, align = (
            [face.columns(group, row, marks) for row in group],
            ["left", *["right"] * (len(face.headers) - 2), "left"],
        )
        table = tabulate(
            columns, face.headers, tablefmt="pipe", disable_numparse=True, colalign=align
        )
        notes = [f"- {_line(line)}" for line in face.caption(group) + reasons(group)]
        parts.append("\n".join([f"### {_line(title(group[0]))}", "", table, "", *notes]))
    return "\n\n".join(parts) or "No records and no cells: nothing has been asked here yet."


def _escaped(text: str) -> str:
    """Plain text for a cell of a Markdown table."""
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    """Plain text for a line of Markdown: what could begin an element of HTML does not."""
    return one_line(text).replace("<", "&lt;")


def _latex(merged: list[dict[str, Any]], face: Face) -> str:
    """A table environment per section, with a rule between the ratios; needs \\usepackage{booktabs}."""
    parts, marks, align = (
        [],
        Marks("\\textbf{{{}}}", "\\underline{{{}}}", " $\\pm$ ", _tex),
        f"l{'r' * (len(face.headers) - 2)}l",
    )
    for group in _sections(merged):
        blocks = [list(block) for _, block in groupby(group, key=lambda row: row["ratio"])]
        lines = [[_tex_line(face.columns(group, row, marks)) for row in block] for block in blocks]
        body = "\n\\midrule\n".join("\n".join(block) for block in lines)
        text = " ".join(
            _tex(f"{line}.") for line in [title(group[0]), *face.caption(group), *reasons(group)]
        )
        head = f"\\begin{{table}}\n\\centering\n\\caption{{{text}}}\n\\begin{{tabular}}{{{align}}}\n\\toprule\n"
        parts.append(
            f"{head}{_tex_line(face.headers)}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}"
        )
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts)


def _tex_line(columns: Sequence[str]) -> str:
    return " & ".join(columns) + " \\\\"


def _tex(text: str) -> str:
    """Plain text for LaTeX."""
    special = {
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "±": "$\\pm$",
        "·": "$\\cdot$",
    }
    return "".join(
        special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter)
        for letter in one_line(text)
    )


def _sections(merged: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    return [list(group) for _, group in groupby(merged, key=section)]


HEADERS = (
    "parameters",
    "stored",
    "PSNR dB",
    "SSIM",
    "steps",
    "samples",
    "passes",
    "seconds",
    "status",
)
PEAKS = {
    "budget MiB": "budget_bytes",
    "peak MiB": "peak_bytes",
    "eager MiB": "peak_bytes_eager",
    **dict(zip(("measured MiB", "lean MiB", "ONNX MiB"), MEASURED, strict=True)),
    **dict(zip(("s/image", "lean s/image", "ONNX s/image"), TIMED, strict=True)),
}
PLACES = ("bold", "second")


def peak_columns(merged: Sequence[Row]) -> dict[str, str]:
    """Header -> field of the rulers; measured only where it was taken."""
    return {
        head: name
        for head, name in PEAKS.items()
        if name not in (*MEASURED, *TIMED) or any(row[name] for row in merged)
    }


def ruler_text(row: Row, name: str) -> str:
    """One figure of `peak_columns`: MiB, or seconds."""
    if row[name] is None:
        return MISSING
    return f"{row[name]:.2f}" if name in TIMED else f"{mib(row[name]):.1f}"


def _columns(group: Sequence[Row], row: Row, marks: Marks, peaks: Iterable[str]) -> list[str]:
    """The cells of one row: label, ratio, the fields of the rulers, and the rest in the order of HEADERS."""
    psnr, place = number(row, "psnr_db", ".2f", marks), place_among(group, row)
    return [
        marks.escape(row["label"]),
        f"{row['ratio']:g}",
        *(ruler_text(row, name) for name in peaks),
        number(row, "parameters", ",d", marks),
        number(row, "parameters_stored", ",d", marks)
        if row["parameters_stored"] != row["parameters"]
        else MISSING,
        psnr if place is None else getattr(marks, PLACES[place]).format(psnr),
        number(row, "ssim", ".4f", marks),
        *(number(row, name, ",d", marks) for name in COSTS[:3]),
        number(row, "seconds", ",.0f", marks),
        marks.escape(status_text(row)),
    ]


def number(row: Row, name: str, form: str, marks: Marks) -> str:
    """A mean, with half of its 95 % interval if there are several seeds and they differ."""
    if row[name] is None:
        return MISSING
    spread = row.get(f"{name}_half95")
    half = "" if spread is None else format(round(spread) if form == ",d" else spread, form)
    return format(row[name], form) + (marks.plus_minus + half if half not in ("", "0") else "")


def place_among(group: Sequence[Row], row: Row) -> int | None:
    """0 for the best PSNR of its ratio among finished rows, to the decimals shown, 1 for the second best; a row without rivals has none."""
    done = [other for other in group if other["status"] == "done" and other["psnr_db"] is not None]
    rivals = [round(other["psnr_db"], 2) for other in done if other["ratio"] == row["ratio"]]
    best = sorted(set(rivals), reverse=True)[: len(PLACES)]
    own = (
        round(row["psnr_db"], 2)
        if any(row is other for other in done) and len(rivals) > 1
        else None
    )
    return best.index(own) if own in best else None


def status_text(row: Row) -> str:
    """ "done", or what became of how many seeds: "1 of 3 pending"."""
    if row["status"] == "done" or row["seeds_asked"] == 1:
        return str(row["status"])
    count = row["statuses"][row["status"]]
    return (
        row["status"]
        if count == row["seeds_asked"]
        else f"{count} of {row['seeds_asked']} {row['status']}"
    )


def title(row: Row) -> str:
    """Names the section of a row: "denoising · unet (width 8)"."""
    named = [f"{name} {value}" for name, value in row["backbone_options"].items()]
    counted = "" if row["convention"] == "planned" else f", {row['convention']} budget"
    return (
        f"{row['task']} · {row['backbone']}" + (f" ({', '.join(named)})" if named else "") + counted
    )


def caption(group: Sequence[Row]) -> list[str]:
    """Sentences, without full stop, on what is equal in a section and what the columns mean."""
    first = group[0]
    seeds = sorted({seed for row in group for seed in row["seed_values"]})
    several = (
        "; peaks are the largest over the seeds, other numbers mean ± half of the 95 % interval of the mean (Student)"
        if len(seeds) > 1
        else ""
    )
    lines = [
        f"Budget and ratio: {first['convention']} peak memory of the activations at an input of {first['measured_at']}; "
        "weights are not counted; peak MiB is planned, eager MiB what the operators as written need",
        f"Data {_named(group, 'data')}; {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}{several}",
        _training(group),
    ]
    if any((row["parameters_stored"] or 0) > (row["parameters"] or 0) for row in group):
        lines.append(
            "Parameters are those that are executed; stored: where more must be stored, because several widths share them"
        )
    places = dict.fromkeys(row["measured_on"] for row in group if row["measured_on"])
    if places:
        lines.append(
            f"Measured: what one forward pass of PyTorch, of the lean executor, of ONNX Runtime allocated, on {'; '.join(places)}"
        )
    degraded = [row for row in group if row["input_psnr_db"] is not None]
    if degraded:
        psnr_db, ssim = degraded[0]["input_psnr_db"], degraded[0]["input_ssim"] or 0
        lines.append(f"Without a network the photographs have {psnr_db:.2f} dB, SSIM {ssim:.4f}")
    lines.append(
        "Samples, forward passes and seconds: all phases after the shared pretraining, whatever network ran; the tests count in the "
        "seconds alone, and work that serves several budgets counts at each"
    )
    marked = any(place_among(group, row) is not None for row in group)
    return lines + (
        [
            "Bold: the best PSNR of a ratio among finished rows; italic or underlined: the second best"
        ]
        if marked
        else []
    )


def _named(group: Sequence[Row], name: str) -> str:
    return ", ".join(dict.fromkeys(str(row[name]) for row in group))


def _training(group: Sequence[Row]) -> str:
    """How much training a row had, as recorded, and whether it was equal."""
    shared = ", ".join(dict.fromkeys(f"{row['recipe']['pretrain_steps']:,}" for row in group))
    text = f"Steps: training steps spent after the shared pretraining of {shared}"
    spent = {
        row["steps"] - row["pretrain_steps_spent"]
        for row in group
        if row["steps"] and row["ratio"] < 1
    }
    if len(spent) == 1:
        text += f"; equal training: {spent.pop():,} for every pruned row"
    elif spent:
        text += f"; not equal: {min(spent):,} to {max(spent):,}"
    scratch = any(row["pretrain_steps_spent"] for row in group)
    return text + (
        "; rows trained from scratch repeat the pretraining, and their steps include it"
        if scratch
        else ""
    )


def reasons(group: Sequence[Row]) -> list[str]:
    """Why rows have no answer, and what is special about the others, one sentence for each."""
    refused = [
        f"{_place(row)} {refusal(row['status'], row['phase'], row['reason'])}"
        for row in group
        if row["reason"] and row["status"] != "done"
    ]
    return refused + [f"{_place(row)}: {row['note']}" for row in group if row["note"]]


def _place(row: Row) -> str:
    return f"{row['label']} at {row['ratio']:g}"

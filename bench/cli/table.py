"""`prunebench table RUN`: print the table of a run, or of several runs together."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.cli.parser import RUN_HELP, positive_number
from bench.cli.resolve import open_store
from bench.errors import ConfigError, match_name, printable

NAME = "table"
HELP = "print the table of a run, or of several together"
EXAMPLE = "prunebench table results/runs/table1 --against paper"
TEXT = "text"
LATEX = "tex"
FORMATS = (TEXT, "md", "csv", LATEX, "json")
PAPER = "paper"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="RUN",
        help=f"{RUN_HELP}; rows of several runs stand in one table",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=TEXT,
        help="PSNR by method and budget as text or LaTeX, or all columns as Markdown, CSV or JSON "
        "(default: %(default)s)",
    )
    add_wide_argument(parser)
    parser.add_argument(
        "--columns",
        metavar="LIST",
        help="print these columns, such as label,ratio,psnr_db,steps",
    )
    parser.add_argument(
        "--ratio",
        type=positive_number,
        action="append",
        metavar="RATIO",
        help="print the rows of this budget alone; may be repeated",
    )
    parser.add_argument(
        "--all", action="store_true", help="print stored rows too that are not in the study"
    )
    parser.add_argument(
        "--against",
        metavar="paper|LABEL",
        help="compare with the published numbers, or, photograph by photograph, with the row "
        "of that label",
    )


def add_wide_argument(parser: argparse.ArgumentParser) -> None:
    """Add --wide."""
    parser.add_argument(
        "--wide", action="store_true", help="print all columns, also as text or LaTeX"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    from bench.report.gather import gather_results
    from bench.report.terminal_table import render_columns, select_ratios

    stores = [open_store(folder) for folder in arguments.folders]
    results = gather_results(stores, arguments.all)
    if arguments.ratio:
        results = select_ratios(results, arguments.ratio)
    if arguments.against is not None:
        print_lines(_render_comparison(results, arguments))
    elif arguments.columns is not None:
        print_lines(render_columns(results, arguments.format, arguments.columns.split(",")))
    elif arguments.format == TEXT:
        print_results(results, [] if arguments.all else stores, arguments.wide)
    elif arguments.format == LATEX and not arguments.wide:
        from bench.report.pivot import render_latex

        print_lines(render_latex(results))
    else:
        from bench.report.table import render_table

        print_lines(render_table(results, arguments.format))


def print_lines(text: str) -> None:
    """Print lines without characters that command a terminal, as a stored text may have."""
    print("\n".join(map(printable, text.split("\n"))))


def print_results(results: Any, stores: list[Any], wide: bool) -> None:
    """Print the table for people, and what the studies of some stores leave out."""
    from bench.report.gather import describe_others
    from bench.report.table import render_table
    from bench.report.terminal_table import render_pivot

    if wide:
        print_lines(render_table(results))
    else:
        print(render_pivot(results, shutil.get_terminal_size().columns, sys.stdout.isatty()))
    for sentence in filter(None, map(describe_others, stores)):
        print(f"\n{sentence}")


def _render_comparison(results: Any, arguments: argparse.Namespace) -> str:
    """Return the table of the comparison with the paper or a row; Markdown is its text."""
    from bench.report.paper_comparison import render_paper_comparison
    from bench.report.significance import render_reference_comparison

    if arguments.columns is not None:
        raise ConfigError("--columns is not for --against, whose table has columns of its own")
    table_format = "md" if arguments.format == TEXT else arguments.format
    labels = [row["label"] for row in results.rows]
    reference = match_name(arguments.against, dict.fromkeys([*labels, PAPER]))
    if reference == PAPER:
        return render_paper_comparison(results, table_format)
    return render_reference_comparison(results, reference, table_format)

"""`prunebench table RUN`: print the table of a run."""

import argparse

from bench.cli.parser import add_run_folder_argument
from bench.cli.resolve import open_store

NAME = "table"
HELP = "print the table of a run"
EXAMPLE = "prunebench table results/runs/table1 --against paper"
FORMATS = ("md", "csv", "tex", "json")
PAPER = "paper"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_run_folder_argument(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="md",
        help="Markdown, CSV, LaTeX or JSON (default: %(default)s)",
    )
    parser.add_argument(
        "--against",
        metavar="paper|LABEL",
        help="compare with the published numbers, or, photograph by photograph, with the row "
        "of that label",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    from bench.report.paper_comparison import render_paper_comparison
    from bench.report.results import read_results
    from bench.report.significance import render_reference_comparison
    from bench.report.table import render_table

    results = read_results(open_store(arguments.folder))
    if arguments.against is None:
        print(render_table(results, arguments.format))
    elif arguments.against == PAPER:
        print(render_paper_comparison(results, arguments.format))
    else:
        print(render_reference_comparison(results, arguments.against, arguments.format))

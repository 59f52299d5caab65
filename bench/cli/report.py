"""`prunebench report RUN`: write the page, tables and figures of a run into its folder."""

import argparse

from bench.cli.parser import add_run_folder_argument
from bench.cli.resolve import open_store

NAME = "report"
HELP = "write the page, tables and figures of a run into its folder"
EXAMPLE = "prunebench report results/runs/table1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_run_folder_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the files and print their paths."""
    from bench.report.write_report import write_report

    for path in write_report(open_store(arguments.folder)):
        print(path)

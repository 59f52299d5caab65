"""`prunebench report RUN`: write the page, tables and figures of a run into its folder."""

import argparse
from pathlib import Path

from bench.cli.parser import RUN_HELP
from bench.cli.resolve import open_store

NAME = "report"
HELP = "write the page, tables and figures of a run into its folder"
EXAMPLE = "prunebench report results/runs/table1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="RUN",
        help=f"{RUN_HELP}; of several runs, one page is written beside the first folder",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the files and print their paths."""
    from bench.report.write_report import write_joint_page, write_report

    stores = [open_store(folder) for folder in arguments.folders]
    for path in write_report(stores[0]) if len(stores) == 1 else [write_joint_page(stores)]:
        print(path)

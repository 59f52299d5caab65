"""`prunebench results`: write a static site of stored studies, with their records to download."""

import argparse
from pathlib import Path

from bench.cli.parser import output_folder

NAME = "results"
HELP = "write a site of all stored studies and their records"
EXAMPLE = "prunebench results results/reference --out site"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "folders",
        type=Path,
        nargs="*",
        default=[Path("results") / "reference"],
        metavar="FOLDER",
        help="folder of a run, or of many runs (default: results/reference)",
    )
    parser.add_argument(
        "--out",
        type=output_folder,
        default=Path("results") / "site",
        metavar="FOLDER",
        help="folder of the site (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the files and print their paths."""
    from bench.report.results_site import write_site

    for path in write_site(arguments.folders, arguments.out):
        print(path, flush=True)

"""`prunebench new NAME`: write a method that works, and its test."""

import argparse
from pathlib import Path

NAME = "new"
HELP = "write the files of a new method and its test"
EXAMPLE = "prunebench new my_method"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="name of the method, and of its Python module")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the files (default: the current one)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the two files and print what to do next."""
    from bench.testing.template import write_template

    method, test = write_template(arguments.name, arguments.out or Path())
    print(f"{method}   the method: replace its rule and its source with yours")
    print(f"{test}   its test: pytest {test}")
    print(f"Next: prunebench check {method}")

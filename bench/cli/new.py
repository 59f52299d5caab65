"""`prunebench new NAME`: write a method that works, and its test; or the copy of a study."""

import argparse
from pathlib import Path

from bench.cli.parser import complete_study, output_folder
from bench.errors import ConfigError

NAME = "new"
HELP = "write the files of a new method, or a copy of a study"
EXAMPLE = "prunebench new study --from table1"
STUDY = "study"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help=f"name of the method, and of its Python module; or {STUDY}, to copy a study",
    )
    parser.add_argument(
        "copy",
        nargs="?",
        metavar="STUDY_NAME",
        help="name of the copied study (default: my_ and the name that it had)",
    )
    source = parser.add_argument(
        "--from", dest="source", metavar="STUDY", help="study to copy, such as table1"
    )
    source.completer = complete_study  # type: ignore[attr-defined]
    parser.add_argument(
        "--out",
        type=output_folder,
        metavar="FOLDER",
        help="folder of the files (default: the current one)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the files and print what to do next."""
    from bench.testing.template import write_study_copy, write_template

    folder = arguments.out or Path()
    if arguments.name == STUDY:
        if arguments.source is None:
            raise ConfigError(
                "new study copies a study; say which, for example "
                "prunebench new study --from table1"
            )
        path = write_study_copy(arguments.source, arguments.copy, folder)
        print(f"{path}   the study: edit its rows, budgets and recipe")
        print(f"Next: prunebench plan {path}")
        return
    if arguments.source is not None or arguments.copy is not None:
        raise ConfigError(
            f"--from and a second name are for prunebench new study; for a method, write only "
            f"prunebench new {arguments.name}"
        )
    method, test = write_template(arguments.name, folder)
    print(f"{method}   the method: replace its rule and its source with yours")
    print(f"{test}   its test: pytest {test}")
    print(f"Next: prunebench check {method}")
    print(f"Then: prunebench run table1 --add {method}")

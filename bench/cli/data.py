"""`prunebench data check FOLDER --task TASK`: check that a data folder matches a task."""

import argparse
import json
from dataclasses import asdict

from bench.cli.parser import add_json_argument, add_plugin_argument, add_set_argument

NAME = "data"
HELP = "check that a data folder matches a task"
EXAMPLE = "prunebench data check photographs --task denoising"
CHECK_HELP = "print splits, sizes, quality of the input, and test photographs near training ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    subparsers = parser.add_subparsers(required=True, title="actions", metavar="ACTION")
    check = subparsers.add_parser("check", help=CHECK_HELP, description=CHECK_HELP)
    add_plugin_argument(check)
    check.add_argument("folder", metavar="FOLDER", help='folder of photographs, or "embedded"')
    check.add_argument(
        "--task",
        required=True,
        metavar="TASK",
        help="task that is to read the folder (prunebench list tasks)",
    )
    add_set_argument(check, "an option of the task, such as scale=4")
    add_json_argument(check)


def run(arguments: argparse.Namespace) -> None:
    """Print what the folder holds for the task."""
    from bench.plugins.options import configure, parse_assignments
    from bench.plugins.registry import TASKS
    from bench.training.data_check import check_data, format_data_check

    options = parse_assignments(arguments.set)
    task = configure(TASKS.get(arguments.task), options, f"task {arguments.task}")
    result = check_data(task, arguments.folder)
    print(json.dumps(asdict(result), indent=1) if arguments.json else format_data_check(result))

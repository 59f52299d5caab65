"""`prunebench data`: check that a folder matches a task; download published data sets."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.parser import add_json_argument, add_plugin_argument, add_set_argument, output_folder
from bench.cli.standard_output import prints_go_to_stderr

if TYPE_CHECKING:
    from bench.files.remote_files import Download

NAME = "data"
HELP = "check that a data folder matches a task; download data sets"
EXAMPLE = "prunebench data check photographs --task denoising"
CHECK_HELP = "print splits, sizes, quality of the input, and test photographs near training ones"
GET_HELP = "download a published data set, or list all with their sizes and terms"


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
    check.set_defaults(action=_check)
    get = subparsers.add_parser("get", help=GET_HELP, description=GET_HELP)
    add_plugin_argument(get)
    get.add_argument("name", nargs="?", metavar="NAME", help="data set (default: list all)")
    get.add_argument(
        "--out",
        type=output_folder,
        default=Path("data"),
        metavar="FOLDER",
        help="folder in which the folder NAME is made (default: %(default)s)",
    )
    get.set_defaults(action=_get)


def run(arguments: argparse.Namespace) -> None:
    """Check or download."""
    arguments.action(arguments)


def _check(arguments: argparse.Namespace) -> None:
    """Print what the folder holds for the task."""
    from bench.plugins.options import configure, parse_assignments
    from bench.plugins.registry import TASKS
    from bench.training.data_check import check_data, format_data_check

    options = parse_assignments(arguments.set)
    task = configure(TASKS.get(arguments.task), options, f"task {arguments.task}")
    with prints_go_to_stderr():
        result = check_data(task, arguments.folder)
    print(json.dumps(asdict(result), indent=1) if arguments.json else format_data_check(result))


def _get(arguments: argparse.Namespace) -> None:
    """Download a data set and print how to use it; without a name, print a table of all."""
    from bench.files.download import download, file_name
    from bench.study.catalogue import find_download, list_downloads

    if arguments.name is None:
        print(_format_downloads(list_downloads()))
        return
    data_set, tasks = find_download(arguments.name)
    folder = arguments.out / data_set.name
    if data_set.files:
        print(_describe_download(data_set, folder), flush=True)
    for file, arrived in download(data_set, arguments.out).items():
        print(
            f"{file_name(file)}: {arrived.size_bytes:,} bytes, SHA-256 {arrived.sha256}; "
            "no checksum is published to compare it with"
        )
    print(f"Next: prunebench data check {folder} --task {tasks[0]}")


def _format_downloads(entries: "list[tuple[Download, list[str]]]") -> str:
    """Return a line for each data set: name, size, tasks, terms."""
    rows = [
        (data_set.name, _format_size(data_set), ", ".join(tasks), data_set.terms)
        for data_set, tasks in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{name:<{widths[0]}}  {size:>{widths[1]}}  {tasks:<{widths[2]}}  {terms}"
        for name, size, tasks, terms in rows
    ]
    return "\n".join([*lines, "Next: prunebench data get NAME"])


def _describe_download(data_set: "Download", folder: Path) -> str:
    """Return what is downloaded, from where, under which terms, and where to."""
    unchecked = sum(not file.checksum for file in data_set.files)
    checks = f"none is published for {unchecked} of the files" if unchecked else "published"
    lines = {
        "source": data_set.source,
        "terms": data_set.terms,
        "size": _format_size(data_set),
        "to": folder,
        "checksum": checks,
    }
    addresses = [f"  {'from':<10}{file.url}" for file in data_set.files[:2]]
    if len(data_set.files) > 2:
        addresses.append(f"  {'':<10}and {len(data_set.files) - 2} files more")
    rows = [f"  {name:<10}{value}" for name, value in lines.items()]
    return "\n".join([f"{data_set.name}: {data_set.content}", *addresses, *rows])


def _format_size(data_set: "Download") -> str:
    from bench.units import format_mib

    if not data_set.files:
        return "by hand"
    return format_mib(sum(file.size_bytes for file in data_set.files))

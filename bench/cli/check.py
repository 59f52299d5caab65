"""`prunebench check NAME-or-FILE.py`: check that a method or task keeps its contract."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.cli.parser import add_json_argument, add_plugin_argument, add_set_argument
from bench.cli.resolve import load_classes
from bench.cli.standard_output import quietly
from bench.errors import ConfigError, match_name

NAME = "check"
HELP = "check that a method or task keeps its contract"
EXAMPLE = "prunebench check my_method.py"
NAME_WIDTH = 44


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "what",
        metavar="NAME|FILE",
        help="name of a method or task, or a .py file with methods or tasks",
    )
    add_plugin_argument(parser)
    add_set_argument(parser, "an option of the method or task, such as samples=10")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each check; return 1 if one failed, else 0."""
    from bench.plugins.options import parse_assignments

    results = []
    for kind, cls in _select_classes(arguments.what):
        if not arguments.json:
            print(f"{kind} {cls.name}")
        for finding in quietly(_check(kind, cls, parse_assignments(arguments.set))):
            results.append({"kind": kind, "of": cls.name, **asdict(finding)})
            if not arguments.json:
                line = f"  {finding.status:<8}{finding.name:<{NAME_WIDTH}}{finding.reason}"
                print(line, flush=True)
    failed = sum(result["status"] == "failed" for result in results)
    passed = sum(result["status"] == "passed" for result in results)
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        print(f"{passed} of {len(results)} checks passed, {failed} failed")
    return int(failed > 0)


def _check(kind: str, cls: Any, options: dict[str, Any]) -> Iterator[Any]:
    from bench.testing.checks import check_method, check_task

    return check_method(cls, options) if kind == "method" else check_task(cls, options)


def _select_classes(what: str) -> list[tuple[str, Any]]:
    """Return the methods and tasks of a file, or the one of that name, each with its kind.

    Raises:
        ConfigError: no such name or file, or a file without methods and tasks.
        PluginError: the file cannot be loaded.
    """
    from bench.plugins.registry import METHODS, TASKS
    from bench.plugins.user_file import PYTHON_SUFFIX
    from bench.records import UNPRUNED

    if match_name(what, [UNPRUNED]) == UNPRUNED:
        raise ConfigError(
            f"'{UNPRUNED}' is the reference and removes nothing, so these checks are not for it"
        )
    if not what.endswith(PYTHON_SUFFIX):
        tasks, methods = TASKS.names(), METHODS.names()
        is_task = match_name(what, tasks) in tasks and match_name(what, methods) not in methods
        return [("task", TASKS.get(what))] if is_task else [("method", METHODS.get(what))]
    classes = load_classes(what)
    if not classes:
        raise ConfigError(f"{what} brings no method and no task, so there is nothing to check")
    return classes

"""`prunebench list [KIND]`: list methods, tasks, backbones, studies, or departures from papers."""

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any

from bench.cli.parser import add_json_argument, add_plugin_argument

NAME = "list"
HELP = "list methods, tasks, backbones, studies or departures"
EXAMPLE = "prunebench list methods --plugin my_method.py"
KINDS = {
    "methods": "ways of pruning, with their papers and options",
    "tasks": "restoration problems, with their networks",
    "backbones": "networks that are pruned",
    "studies": "comparisons that come with the package",
    "departures": "where a method differs from its paper",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "kind",
        metavar="KIND",
        nargs="?",
        choices=KINDS,
        help=f"{', '.join(KINDS)} (default: list the kinds)",
    )
    add_plugin_argument(parser)
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the entries."""
    entries = _list(arguments.kind)
    if arguments.json:
        print(json.dumps(entries, indent=1, default=str))
    else:
        print(format_entries(entries))


def _list(kind: str | None) -> list[dict[str, Any]]:
    """Return the entries of a kind, or the kinds themselves."""
    if kind is None:
        return [{"name": name, "about": about} for name, about in KINDS.items()]
    from bench.study.catalogue import list_entries

    return list_entries(kind)


def format_entries(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the name of each entry, and below it one line for each of its other fields."""
    lines: list[str] = []
    for entry in entries:
        lines.append(str(entry["name"]))
        lines += [
            f"  {field:<12}{_format_value(value)}"
            for field, value in entry.items()
            if field != "name"
        ]
    return "\n".join(lines)


def _format_value(value: Any) -> str:
    if isinstance(value, dict):
        value = [_format_option(name, option) for name, option in value.items()]
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)) or "-"


def _format_option(name: str, option: Any) -> str:
    """Return one option as Python writes it: "scale: int = 2"."""
    if isinstance(option, dict):
        return f"{name}: {option['type']} = {option['default']!r}"
    return f"{name} = {option!r}"

"""Commands for people who write a method: new, check."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, PluginError

WIDTH = 44


def new(arguments: argparse.Namespace) -> None:
    """prunebench new NAME: a method that works, and its test."""
    from bench.testing.template import write_new

    method, test = write_new(arguments.name, arguments.out or Path())
    print(f"{method}   the method: read it, and replace what it says")
    print(f"{test}   its test: pytest {test}")
    print(f"Next: prunebench check {method}")


def check(arguments: argparse.Namespace) -> int:
    """prunebench check NAME-or-FILE: every promise of a method or task, one line each; exit code 1 if one is not kept."""
    from bench.plugins.options import assigned

    found = []
    for kind, cls in _examined(arguments.what):
        if not arguments.json:
            print(f"{kind} {cls.name}")
        for finding in _findings(kind, cls, assigned(arguments.set)):
            found.append({"kind": kind, "of": cls.name, **asdict(finding)})
            if not arguments.json:
                print(f"  {finding.status:<8}{finding.name:<{WIDTH}}{finding.reason}", flush=True)
    failed = sum(one["status"] == "failed" for one in found)
    passed = sum(one["status"] == "passed" for one in found)
    print(
        json.dumps(found, indent=1)
        if arguments.json
        else f"{passed} of {len(found)} checks passed, {failed} failed"
    )
    return int(failed > 0)


def _findings(kind: str, cls: Any, options: dict[str, Any]) -> Any:
    from bench.testing.checks import check_method, check_task

    return check_method(cls, options) if kind == "method" else check_task(cls, options)


def _examined(what: str) -> list[tuple[str, Any]]:
    """The methods and tasks of a file, or the one of that name.

    Raises ConfigError or PluginError.
    """
    from bench.plugins.registry import BROKEN, METHODS, TASKS, load_plugin
    from bench.plugins.user_file import ENDING
    from bench.records import UNPRUNED

    kinds: tuple[tuple[str, Any], ...] = (("method", METHODS), ("task", TASKS))
    if what == UNPRUNED:
        raise ConfigError(
            f"'{UNPRUNED}' is the reference and removes nothing, so these checks are not for it"
        )
    if not what.endswith(ENDING):
        kind, registry = kinds[what in TASKS.names() and what not in METHODS.names()]
        return [(kind, registry.get(what))]
    origin = load_plugin(what)
    if origin in BROKEN:
        raise PluginError(f"{what} cannot be loaded: {BROKEN[origin]}")
    examined = [
        (kind, registry.get(name)) for kind, registry in kinds for name in registry.named_in(origin)
    ]
    if not examined:
        raise ConfigError(f"{what} brings no method and no task, so there is nothing to check")
    return examined

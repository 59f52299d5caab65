"""Commands that look and change nothing: profile, data check, list."""

import argparse
import json
from dataclasses import asdict

from bench.cli.resolve import network_of


def profile(arguments: argparse.Namespace) -> None:
    """prunebench profile BACKBONE: as text or JSON, and as a picture."""
    from bench.memory.profile import profile as profiled
    from bench.report.timeline_plot import check_ending, draw
    from bench.report.timeline_text import text
    from bench.surgery.compactors import insert, long_skips

    if arguments.plot:
        check_ending(arguments.plot)
    model, shape = network_of(arguments)
    if arguments.compactors:
        model = insert(model, long_skips(model, shape), shape)
    measured = profiled(model, shape, arguments.convention)
    if arguments.plot:
        draw(arguments.backbone, measured, arguments.plot)
    if arguments.json:
        print(json.dumps({"backbone": arguments.backbone} | measured.to_json(), indent=1))
    else:
        print(text(arguments.backbone, measured, arguments.top))


def data(arguments: argparse.Namespace) -> None:
    """prunebench data check DIR --task T."""
    from bench.plugins.options import assigned, configured
    from bench.plugins.registry import TASKS
    from bench.training.data_check import check_data, text

    task = configured(TASKS.get(arguments.task), assigned(arguments.set), f"task {arguments.task}")
    checked = check_data(task, arguments.folder)
    print(json.dumps(asdict(checked), indent=1) if arguments.json else text(checked))


def listing(arguments: argparse.Namespace) -> None:
    """prunebench list methods|tasks|backbones|studies."""
    from bench.study.catalogue import catalogue, text

    entries = catalogue(arguments.kind)
    print(json.dumps(entries, indent=1, default=str) if arguments.json else text(entries))

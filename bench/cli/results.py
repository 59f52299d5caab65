"""Commands that read a run which is there: table, report, measure, sync."""

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

from bench.cli.resolve import device_of, store_at
from bench.errors import ConfigError


def table(arguments: argparse.Namespace) -> None:
    """prunebench table DIR."""
    from bench.report.paper_comparison import render_against
    from bench.report.significance import render_versus
    from bench.report.table import render

    store, reference = store_at(arguments.folder), arguments.against
    known = {None: render, "paper": render_against}
    print(
        known.get(reference, partial(render_versus, reference))(
            store.records(), arguments.format, store.cells()
        )
    )


def report(arguments: argparse.Namespace) -> None:
    """prunebench report DIR: the table in all formats, every figure as png and svg, the page."""
    from bench.report.files import write_report

    for path in write_report(store_at(arguments.folder)):
        print(path)


def measure(arguments: argparse.Namespace) -> None:
    """prunebench measure DIR: what networks allocate, and how long an image takes, when they run; of a run, into its records."""
    from bench.export.selection import chosen, holds_network
    from bench.memory.profile import peak_memory
    from bench.runner.measure import measure_run, measured

    executors, device = arguments.executor or ["pytorch"], device_of(arguments)
    if holds_network(arguments.folder):
        one = chosen(arguments.folder, shape=arguments.shape)
        for executor in executors:
            _tell_measured(
                one.name,
                executor,
                measured(one.model, one.shape, executor, device),
                peak_memory(one.model, one.shape),
            )
        return
    if arguments.shape:
        raise ConfigError(
            f"{arguments.folder} is a run, whose networks are measured at the input of their budgets; leave --shape out"
        )
    store, count = store_at(arguments.folder), 0
    for record, executor in measure_run(store, executors, device):
        count += 1
        place = f"{record.cell.label}, ratio {record.cell.ratio:g}, seed {record.cell.seed}"
        _tell_measured(place, executor, record.measured[executor], record.peak_bytes or 0)
    print(
        f"{count} measured; prunebench table {store.folder} shows them"
        if count
        else "Nothing is left to measure there"
    )


def _tell_measured(
    place: str, executor: str, figures: Mapping[str, Any], planned_bytes: int
) -> None:
    from bench.units import format_mib

    peak, planned = format_mib(figures["peak_bytes"]), format_mib(planned_bytes)
    print(
        f"{place}: {executor} measured {peak}, planned {planned}, {figures['image_seconds']:.2f} s an image",
        flush=True,
    )


def sync(arguments: argparse.Namespace) -> int:
    """prunebench sync DIR: what MLflow does not have yet; exit code 1 if MLflow failed."""
    return track(store_at(arguments.folder))


def track(store: Any) -> int:
    """Copies records to MLflow and says so; its failure is a warning. Returns 1 if it failed."""
    from bench.report.mlflow_sync import log_study, tracking_uri

    copied = log_study(store.folder, store.name(), store.records(), store.cells())
    if copied >= 0:
        print(
            f"MLflow: {copied} records copied to {tracking_uri(store.folder)}"
            if copied
            else "MLflow: nothing new to copy"
        )
    return int(copied < 0)

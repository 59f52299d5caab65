"""Commands that read a run which is there: table, report, measure, sync."""

import argparse
from functools import partial
from typing import Any

from bench.commands.asked import device_of, store_at


def table(arguments: argparse.Namespace) -> None:
    """prunebench table DIR."""
    from bench.report.against import render_against
    from bench.report.significance import render_versus
    from bench.report.table import render

    store, reference = store_at(arguments.folder), arguments.against
    known = {None: render, "paper": render_against}
    print(known.get(reference, partial(render_versus, reference))(store.records(), arguments.format, store.cells()))


def report(arguments: argparse.Namespace) -> None:
    """prunebench report DIR: the table in all formats, every figure as png and svg, the page."""
    from bench.report.files import write_report

    for path in write_report(store_at(arguments.folder)):
        print(path)


def measure(arguments: argparse.Namespace) -> None:
    """prunebench measure DIR: what every network of a run allocates when it runs, into its record."""
    from bench.measuring import measure_run
    from bench.units import format_mib

    store, count = store_at(arguments.folder), 0
    for record in measure_run(store, device_of(arguments)):
        count += 1
        place = f"{record.cell.label}, ratio {record.cell.ratio:g}, seed {record.cell.seed}"
        print(f"{place}: measured {format_mib(record.measured_bytes or 0)}, planned {format_mib(record.peak_bytes or 0)}", flush=True)
    print(f"{count} networks measured; prunebench table {store.folder} shows them" if count else "Nothing is left to measure there")


def sync(arguments: argparse.Namespace) -> int:
    """prunebench sync DIR: what MLflow does not have yet; exit code 1 if MLflow failed."""
    return track(store_at(arguments.folder))


def track(store: Any) -> int:
    """Copies records to MLflow and says so; its failure is a warning. Returns 1 if it failed."""
    from bench.tracking import log_study, tracking_uri

    copied = log_study(store.folder, store.name(), store.records(), store.cells())
    if copied >= 0:
        print(f"MLflow: {copied} records copied to {tracking_uri(store.folder)}" if copied else "MLflow: nothing new to copy")
    return int(copied < 0)

"""`prunebench measure FOLDER`: run networks and print what they allocate and how long they take."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.cli.parser import add_shape_argument
from bench.cli.resolve import open_store, resolve_device
from bench.cli.standard_output import prints_go_to_stderr, quietly
from bench.errors import ConfigError

NAME = "measure"
HELP = "run saved networks; print their memory and seconds per image"
EXAMPLE = "prunebench measure results/runs/table1 --executor pytorch --executor lean"
EXECUTORS = ("pytorch", "lean", "onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="folder of a run, whose records keep the numbers, or of one saved network",
    )
    parser.add_argument(
        "--executor",
        action="append",
        choices=EXECUTORS,
        help="what runs the networks; may be repeated (default: pytorch)",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="device to run on (default: %(default)s)",
    )
    add_shape_argument(
        parser,
        "input (N, C, H, W) of one saved network, such as 1x3x1024x2048 "
        "(default: that of its budget)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure one saved network, or every network of a run that was not measured yet."""
    from bench.export.selection import holds_network

    executors = arguments.executor or [EXECUTORS[0]]
    device = resolve_device(arguments)
    if holds_network(arguments.folder):
        _measure_saved_network(arguments.folder, arguments.shape, executors, device)
    elif arguments.shape:
        raise ConfigError(
            f"{arguments.folder} is a run, whose networks are measured at the input of their "
            "budgets; leave --shape out"
        )
    else:
        _measure_run(arguments.folder, executors, device)


def _measure_saved_network(
    folder: Path, shape: str | None, executors: list[str], device: str
) -> None:
    from bench.export.selection import select_network
    from bench.memory.profile import peak_memory
    from bench.runner.measure import measure_network

    network = select_network(folder, shape=shape)
    for executor in executors:
        with prints_go_to_stderr():
            measurement = measure_network(network.model, network.shape, executor, device)
            planned_bytes = peak_memory(network.model, network.shape)
        _print_measurement(network.name, executor, measurement, planned_bytes)


def _measure_run(folder: Path, executors: list[str], device: str) -> None:
    from bench.runner.measure import measure_run

    store = open_store(folder)
    count = 0
    for record, executor in quietly(measure_run(store, executors, device)):
        count += 1
        cell = record.cell
        name = f"'{cell.label}', ratio {cell.ratio:g}, seed {cell.seed}"
        _print_measurement(name, executor, record.measured[executor], record.peak_bytes or 0)
    if count:
        print(f"{count} measured; prunebench table {store.folder} shows them")
    else:
        print(f"Every network in {store.folder} is measured already")


def _print_measurement(
    name: str, executor: str, measurement: Mapping[str, Any], planned_bytes: int
) -> None:
    from bench.units import format_mib

    peak = format_mib(measurement["peak_bytes"])
    planned = format_mib(planned_bytes)
    seconds = measurement["image_seconds"]
    print(
        f"{name}: {executor} measured {peak}, planned {planned}, {seconds:.2f} s an image",
        flush=True,
    )

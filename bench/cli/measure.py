"""`prunebench measure FOLDER...`: print what networks allocate and how long they take."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.cli.parser import add_shape_argument
from bench.cli.resolve import open_store, resolve_device
from bench.cli.standard_output import prints_go_to_stderr, quietly
from bench.errors import ConfigError

NAME = "measure"
HELP = "run saved networks; print their memory and seconds per image"
EXAMPLE = "prunebench measure results/runs/table1 --executor pytorch --executor mnn"
EXECUTORS = (
    "pytorch",
    "lean",
    "onnx",
    "executorch",
    "onnxsim",
    "mnn",
    "iree",
    "ncnn",
    "openvino",
    "tvm",
)
ALL = "all"
Row = tuple[str, str, str]  # network, executor, what was measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="folder of a run, whose records keep the numbers, or of one saved network",
    )
    parser.add_argument(
        "--executor",
        action="append",
        choices=(*EXECUTORS, ALL),
        help="what runs the networks, or all that are installed; may be repeated "
        "(default: pytorch)",
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
    """Measure saved networks, and those of runs that were not measured yet."""
    from bench.export.selection import holds_network
    from bench.runner.measure import installed_executors

    executors = list(dict.fromkeys(arguments.executor or EXECUTORS[:1]))
    if ALL in executors:
        executors = installed_executors()
    device = resolve_device(arguments)
    rows: list[Row] = []
    for folder in arguments.folders:
        if holds_network(folder):
            measured = _measure_saved_network(folder, arguments.shape, executors, device)
        elif arguments.shape:
            raise ConfigError(
                f"{folder} is a run, whose networks are measured at the input of their "
                "budgets; leave --shape out"
            )
        else:
            measured = _measure_run(folder, executors, device)
        prefix = f"{folder.name}: " if len(arguments.folders) > 1 else ""
        rows += [(f"{prefix}{name}", executor, text) for name, executor, text in measured]
    if rows and (len(executors) > 1 or len(arguments.folders) > 1):
        print(f"\n{_format_rows(rows, executors)}")


def _measure_saved_network(
    folder: Path, shape: str | None, executors: list[str], device: str
) -> Iterator[Row]:
    from bench.export.selection import select_network
    from bench.memory.profile import peak_memory
    from bench.runner.measure import measure_network

    network = select_network(folder, shape=shape)
    for executor in executors:
        try:
            with prints_go_to_stderr():
                measurement = measure_network(network.model, network.shape, executor, device)
                planned_bytes = peak_memory(network.model, network.shape)
        except ConfigError as error:
            if len(executors) == 1:
                raise
            print(f"{network.name}: {executor}: {error}", flush=True)
            continue
        yield _print_measurement(network.name, executor, measurement, planned_bytes)


def _measure_run(folder: Path, executors: list[str], device: str) -> Iterator[Row]:
    from bench.report.captions import section_title
    from bench.runner.measure import measure_run

    store = open_store(folder)
    has_sections = len({section_title(vars(record.cell)) for record in store.records()}) > 1
    count = 0
    for record, executor in quietly(measure_run(store, executors, device)):
        count += 1
        cell = record.cell
        section = f"{section_title(vars(cell))}: " if has_sections else ""
        name = f"{section}'{cell.label}', ratio {cell.ratio:g}, seed {cell.seed}"
        yield _print_measurement(name, executor, record.measured[executor], record.peak_bytes or 0)
    if count:
        print(f"{count} measured; prunebench table {store.folder} shows them")
    else:
        print(f"Nothing is left to measure in {store.folder}")


def _print_measurement(
    name: str, executor: str, measurement: Mapping[str, Any], planned_bytes: int
) -> Row:
    """Print a measurement, and return it as network, executor and cell of a table."""
    from bench.units import format_mib

    peak = format_mib(measurement["peak_bytes"])
    planned = format_mib(planned_bytes)
    seconds = measurement.get("image_seconds")
    time = "not timed" if seconds is None else f"{seconds:.2f} s an image"
    print(f"{name}: {executor} measured {peak}, planned {planned}, {time}", flush=True)
    ratio = measurement["peak_bytes"] / max(planned_bytes, 1)
    return name, executor, f"{peak}, x{ratio:.2f}, {time}"


def _format_rows(rows: list[Row], executors: list[str]) -> str:
    """Return a table with one row for each network and one column for each executor."""
    from bench.report.columns import format_columns

    cells = {(name, executor): text for name, executor, text in rows}
    names = dict.fromkeys(name for name, _, _ in rows)
    return format_columns(
        [[name, *(cells.get((name, each), "-") for each in executors)] for name in names],
        ["network", *executors],
        ["left"] * (1 + len(executors)),
    )

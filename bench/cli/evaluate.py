"""`prunebench evaluate FOLDER --data DIR`: score stored networks on other photographs."""

import argparse
import sys
from pathlib import Path

from bench.cli.parser import output_folder
from bench.cli.resolve import resolve_device
from bench.cli.standard_output import quietly
from bench.cli.table import add_wide_argument, print_results
from bench.errors import ConfigError

NAME = "evaluate"
HELP = "score stored networks on photographs that they have never seen"
EXAMPLE = "prunebench evaluate results/runs/table1 --data ~/photographs --all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="folder of a run, or of one network of prunebench prune",
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        required=True,
        help="folder of photographs, laid out as to train on it (docs/data.md)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="score all photographs of the folder, not its test sets alone",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="device to restore on: auto, cpu, cuda or mps (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=output_folder,
        metavar="FOLDER",
        help="keep the records here, for prunebench table and report",
    )
    add_wide_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Score the networks, and print their table as that of a run."""
    from bench.report.results import collect_results
    from bench.runner.evaluate_run import evaluate_stored
    from bench.study.store import Store

    out: Path | None = arguments.out
    if out and out.exists():
        raise ConfigError(f"{out} exists already; choose another folder for --out")
    records = []
    device = resolve_device(arguments)
    for record in quietly(
        evaluate_stored(arguments.folder, arguments.data, device, whole=arguments.all)
    ):
        cell = record.cell
        print(
            f"'{cell.label}', ratio {cell.ratio:g}, seed {cell.seed}: "
            f"{record.means['psnr_db']:.2f} dB, input {record.input_means['psnr_db']:.2f} dB",
            file=sys.stderr,
        )
        records.append(record)
    if out:
        store = Store(out)
        store.write_study(f"{arguments.folder.name}_elsewhere", [entry.cell for entry in records])
        for record in records:
            store.write(record)
    count = sum(map(len, records[0].scores.values()))
    print(f"{count} photographs of {arguments.data}: {', '.join(records[0].scores)}\n")
    print_results(collect_results(records), [], arguments.wide)

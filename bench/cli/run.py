"""`prunebench run STUDY`: run the cells of a study that are not stored yet."""

import argparse
import sys
from typing import Any

from bench.cli import plan
from bench.cli.parser import (
    add_executor_argument,
    add_progress_arguments,
    add_study_arguments,
    add_time_limit_argument,
    positive_number,
)
from bench.cli.resolve import (
    narrow_study,
    resolve_device,
    resolve_progress,
    resolve_run_folder,
    resolve_seconds,
    resolve_study,
)
from bench.cli.standard_output import prints_go_to_stderr
from bench.cli.sync import copy_to_mlflow
from bench.cli.table import add_wide_argument, print_lines, print_results
from bench.errors import ConfigError

NAME = "run"
HELP = "run a study; cells that are stored are not run again"
EXAMPLE = "prunebench run table1 --add my_method.py --seeds 0,1,2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_study_arguments(parser)
    add_executor_argument(parser, ("processes", "serial", "ray"))
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="jobs at a time (default: as many as the cores allow, one on a GPU)",
    )
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="ray only: auto, or HOST:PORT of a cluster (default: start one on this machine)",
    )
    parser.add_argument(
        "--gpus-per-job",
        type=positive_number,
        metavar="GPUS",
        help="ray only: GPUs of one job; with 0.5 two jobs share a GPU (default: 1)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would run and for how long, and stop",
    )
    parser.add_argument(
        "--against",
        metavar="reference|PATH",
        help="train only the rows of --add, and compare them with stored results of the study: "
        "those of results/reference, a run folder, or a .parquet file of records",
    )
    add_time_limit_argument(parser)
    parser.add_argument(
        "--checkpoint-every",
        metavar="DURATION",
        help="time between two checkpoints of a training (default: 1m)",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="run cells again that have failed"
    )
    parser.add_argument(
        "--no-mlflow", action="store_true", help="do not copy the records to MLflow"
    )
    add_wide_argument(parser)
    add_progress_arguments(parser)
    parser.set_defaults(devices=plan.DEVICES, json=False)  # for --dry-run, which prints a plan


def run(arguments: argparse.Namespace) -> int:
    """Run a study, print its table and write its page; return 1 if cells failed, else 0."""
    from bench.report.against_reference import describe_fairness, join_reference
    from bench.report.page import write_page
    from bench.report.results import collect_results
    from bench.report.write_report import PAGE
    from bench.runner.failures import summarize_failures
    from bench.runner.run import run_study
    from bench.study.store import Store

    if arguments.dry_run:
        plan.run(arguments)
        return 0
    time_limit_seconds = resolve_seconds(arguments.time_limit)
    checkpoint_seconds = resolve_seconds(arguments.checkpoint_every)
    with prints_go_to_stderr():
        whole = resolve_study(arguments)
        study = narrow_study(whole, arguments)
        reference = _load_reference(arguments, study)
    store = Store(resolve_run_folder(arguments), checkpoint_seconds)
    # With Ray the nodes train; this machine checks the inputs and estimates the time.
    device = "auto" if arguments.executor == "ray" else arguments.device
    with prints_go_to_stderr(), resolve_progress(arguments) as progress:
        records = run_study(
            study,
            store,
            _create_executor(arguments, study),
            device=device,
            retry_failed=arguments.retry_failed,
            time_limit_seconds=time_limit_seconds,
            progress=_add_tracker(progress, arguments, store),
            command=arguments.command_line,
        )
    results = (
        join_reference(records, reference) if reference else collect_results(records, store.cells())
    )
    print()
    print_results(results, [store], arguments.wide)
    if reference:
        _print_comparison(results, describe_fairness(records, reference, whole.cells()), records)
    print(f"\nPage: {write_page(store, results, store.folder / PAGE)}")
    print(f"Records and networks: {store.folder}")
    print(f"Tables and figures as files: prunebench report {store.folder}")
    if not arguments.no_mlflow:
        copy_to_mlflow(store)
    failures = summarize_failures(records)
    if failures:
        print(f"\nprunebench: {failures}; run them again with --retry-failed", file=sys.stderr)
    return int(bool(failures))


def _load_reference(arguments: argparse.Namespace, study: Any) -> list[Any]:
    """Return the stored records that --against names; [] without it. Nothing has been run yet."""
    if arguments.against is None:
        return []
    from bench.report.against_reference import check_comparable
    from bench.report.reference import find_reference, load_records

    records = load_records(find_reference(arguments.against, study.name))
    check_comparable(study.cells(), records)
    return records


def _print_comparison(results: Any, fairness: list[str], new: list[Any]) -> None:
    """Print each row beside each new one, photograph by photograph, and what is not equal."""
    from bench.report.significance import render_reference_comparison

    count = sum(not record.cell.is_reference for record in new)  # they come last
    for label in dict.fromkeys(record.cell.label for record in results.records[-count:]):
        print_lines(f"\n{render_reference_comparison(results, label)}")
    print_lines("\nIs the comparison fair?\n" + "\n".join(f"- {line}." for line in fairness))


def _add_tracker(progress: Any, arguments: argparse.Namespace, store: Any) -> Any:
    """Return the listener of a run, which also copies its records to MLflow unless told not to."""
    if arguments.no_mlflow:
        return progress
    from bench.report.mlflow_sync import MlflowCopy
    from bench.runner.listeners import Listeners

    return Listeners(progress, MlflowCopy(store))


def _create_executor(arguments: argparse.Namespace, study: Any) -> Any:
    """Return the executor of the jobs."""
    threads = study.cells()[0].recipe.threads
    if arguments.executor == "ray":
        from bench.runner.executors.ray import RayExecutor

        return RayExecutor(
            arguments.address, arguments.device, threads, arguments.gpus_per_job, arguments.workers
        )
    for name in ("address", "gpus_per_job"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for --executor ray, and the executor is "
                f"{arguments.executor}; add --executor ray or leave it out"
            )
    from bench.runner.executors.processes import ProcessExecutor, count_cores
    from bench.runner.executors.serial import SerialExecutor

    on_cpu = resolve_device(arguments) == "cpu"
    workers = arguments.workers or (count_cores() // threads if on_cpu else 1)
    return SerialExecutor() if arguments.executor == "serial" else ProcessExecutor(max(1, workers))


def describe_interruption(arguments: argparse.Namespace) -> str:
    """Return what an interrupted run has stored, and how to continue it."""
    folder = resolve_run_folder(arguments)
    records = len(list((folder / "records").glob("*.json")))
    checkpoints = len(list(folder.rglob("*.checkpoint")))
    stored = f"{records} record{'s' * (records != 1)}"
    if checkpoints:
        stored += f", {checkpoints} checkpoint{'s' * (checkpoints != 1)} of trainings"
    return (
        f"interrupted; stored in {folder}: {stored}; repeat the command to continue; "
        f"prunebench table {folder} shows what is done"
    )

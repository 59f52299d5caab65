"""Commands that make networks: run, pretrain, prune, export."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.cli.resolve import RUNS, device_of, out_folder, seconds_of, study_of
from bench.cli.results import track
from bench.errors import ConfigError

PRUNED = Path("results") / "pruned"
EXPORTED = Path("results") / "exported"


def run(arguments: argparse.Namespace) -> int:
    """prunebench run STUDY; exit code 1 if cells have failed."""
    from bench.report.table import render
    from bench.runner.failures import summary
    from bench.runner.progress import TextProgress
    from bench.runner.run import run_study
    from bench.study.store import Store

    if arguments.dry_run:
        plan(arguments)
        return 0
    time_limit_seconds, every_seconds = (
        seconds_of(arguments.time_limit),
        seconds_of(arguments.checkpoint_every),
    )
    study, store = study_of(arguments), Store(out_folder(arguments), every_seconds)
    device = (
        "auto" if arguments.executor == "ray" else arguments.device
    )  # nodes train, this machine looks at the inputs and foresees
    asked = {"device": device, "retry_failed": arguments.retry_failed, "command": arguments.typed}
    asked |= {"time_limit_seconds": time_limit_seconds, "progress": TextProgress()}
    records = run_study(study, store, _executor(arguments, study), **asked)
    print(f"\n{render(records, 'md', store.cells())}\n\nRecords and networks: {store.folder}")
    print(f"Page, tables and figures as files: prunebench report {store.folder}")
    if not arguments.no_mlflow:
        track(store)
    failures = summary(records)
    if failures:
        print(f"\nprunebench: {failures}; run them again with --retry-failed", file=sys.stderr)
    return int(bool(failures))


def plan(arguments: argparse.Namespace) -> None:
    """prunebench plan STUDY, and run --dry-run: the jobs, and the time on several devices."""
    from bench.runner.plan import plan as planned
    from bench.runner.plan import text
    from bench.runner.run import estimate
    from bench.study.store import Store

    study, store = study_of(arguments), Store(out_folder(arguments))
    forecast = estimate(
        study, store, device=device_of(arguments), retry_failed=arguments.retry_failed
    )
    made = planned(study, forecast, arguments.devices)
    print(json.dumps(made.to_json(), indent=1) if arguments.json else text(made, store.folder))


def pretrain(arguments: argparse.Namespace) -> None:
    """prunebench pretrain STUDY: the unpruned networks alone, into one folder."""
    from bench.runner.progress import TextProgress
    from bench.runner.run import check_inputs
    from bench.runner.run import pretrain as train
    from bench.training.pretrained import pretrained_key

    study, folder, device = (
        study_of(arguments),
        arguments.out or out_folder(arguments) / "pretrained",
        device_of(arguments),
    )
    check_inputs(study.cells(), device)
    for key, cell in {pretrained_key(cell): cell for cell in study.cells()}.items():
        train(cell, [folder], device, TextProgress())
        print(f"{key}  {cell.task} {cell.backbone} seed {cell.seed}", flush=True)
    print(f"Networks: {folder}")


def prune(arguments: argparse.Namespace) -> None:
    """prunebench prune METHOD: one budget, the network saved in a folder."""
    from bench.runner.progress import TextProgress
    from bench.runner.single import Wish, folder_name, prune_once, text
    from bench.units import MIB

    wish = Wish(
        method=arguments.method,
        backbone=arguments.backbone,
        task=arguments.task,
        backbone_options={} if arguments.width is None else {"width": arguments.width},
        ratio=arguments.ratio,
        peak_bytes=None if arguments.peak_mib is None else int(arguments.peak_mib * MIB),
        data=arguments.data or "embedded",
        seed=arguments.seed,
        convention=arguments.convention or "planned",
        overrides=arguments.set,
    )
    budget = f"{arguments.ratio:g}" if arguments.ratio is not None else f"{arguments.peak_mib:g}MiB"
    folder = arguments.out or PRUNED / folder_name(arguments.backbone, arguments.method, budget)
    work = arguments.out / "run" if arguments.out else RUNS / "prune"
    print(
        text(
            *prune_once(
                wish,
                folder,
                work,
                device_of(arguments),
                TextProgress(),
                seconds_of(arguments.time_limit),
            ),
            folder,
        )
    )


def export(arguments: argparse.Namespace) -> None:
    """prunebench export CELL: one saved network in a form that others read, checked against the network itself."""
    from bench.export.convert import default_place, export_network
    from bench.export.selection import chosen

    if not arguments.folder.is_dir():
        raise ConfigError(
            f"there is no folder {arguments.folder}; give that of a saved network, or of a run and --row, --ratio, --seed"
        )
    one = chosen(arguments.folder, arguments.row, arguments.ratio, arguments.seed, arguments.shape)
    print(
        "\n".join(
            export_network(
                one,
                arguments.format,
                arguments.out or default_place(one, arguments.format, EXPORTED),
            )
        )
    )


def _executor(arguments: argparse.Namespace, study: Any) -> Any:
    """Where jobs run: side by side on the CPU where there are cores for it, one after the other elsewhere, or where Ray places them."""
    threads = study.cells()[0].recipe.threads
    if arguments.executor == "ray":
        from bench.runner.executors.ray import OnRay

        return OnRay(
            arguments.address, arguments.device, threads, arguments.gpus_per_job, arguments.workers
        )
    for name in ("address", "gpus_per_job"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for --executor ray, which was not asked"
            )
    from bench.runner.executors.processes import Processes, cores
    from bench.runner.executors.serial import Serial

    workers = arguments.workers or (cores() // threads if device_of(arguments) == "cpu" else 1)
    return Serial() if arguments.executor == "serial" or workers <= 1 else Processes(workers)

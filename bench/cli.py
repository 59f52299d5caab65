"""The command line: parsing and printing only.

Nothing heavy is imported before the arguments are parsed, so that `prunebench --help` answers at once. What is read from the user is
checked before anything is written. A mistake of the user's is one line on stderr and exit code 2; an interruption is one line and 130.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bench.arguments import MISTAKE, parser_of
from bench.errors import BenchError, ConfigError

RUNS = Path("results") / "runs"
PRUNED = Path("results") / "pruned"
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = parser_of(COMMANDS).parse_args(words)
    arguments.typed = shlex.join(["prunebench", *words])
    try:
        code = arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (BenchError, OSError) as error:
        print(f"prunebench: {' '.join(str(error).split())}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print(f"\nprunebench: {_interruption(arguments)}", file=sys.stderr)
        return INTERRUPTED
    return int(code or 0)


def _interruption(arguments: argparse.Namespace) -> str:
    """What is stored and how to go on."""
    if arguments.command is not run:
        return "interrupted; repeat the command to start again"
    out = _out(arguments)
    stored = len(list((out / "records").glob("*.json")))
    records = "1 record is" if stored == 1 else f"{stored} records are"
    return f"interrupted; {records} stored in {out}, the same command goes on from there; prunebench table {out} shows them"


# ---- the commands --------------------------------------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> None:
    """prunebench run STUDY."""
    from bench.forecast import text as forecast_text
    from bench.progress import TextProgress
    from bench.report.table import render
    from bench.run import estimate, run_study
    from bench.store import Store

    study, store = _study(arguments), Store(_out(arguments))
    asked = {"device": _device(arguments), "retry_failed": arguments.retry_failed}
    if arguments.dry_run:
        print(forecast_text(estimate(study, store, **asked), len(study.cells()), store.folder))
        return
    records = run_study(study, store, _executor(arguments, study), **asked, progress=TextProgress(), command=arguments.typed)
    print(f"\n{render(records, 'md', store.cells())}\n\nRecords and networks: {store.folder}")
    print(f"Page, tables and figures as files: prunebench report {store.folder}")
    if not arguments.no_mlflow:
        _track(store)


def pretrain(arguments: argparse.Namespace) -> None:
    """prunebench pretrain STUDY: the unpruned networks alone, into one folder."""
    from bench.pretrained import pretrained_key
    from bench.progress import TextProgress
    from bench.run import check_inputs
    from bench.run import pretrain as train

    study, folder, device = _study(arguments), arguments.out or _out(arguments) / "pretrained", _device(arguments)
    check_inputs(study.cells())
    for key, cell in {pretrained_key(cell): cell for cell in study.cells()}.items():
        train(cell, [folder], device, TextProgress())
        print(f"{key}  {cell.task} {cell.backbone} seed {cell.seed}", flush=True)
    print(f"Networks: {folder}")


def table(arguments: argparse.Namespace) -> None:
    """prunebench table DIR."""
    from bench.report.against import render_against
    from bench.report.significance import render_versus
    from bench.report.table import render

    store, reference = _store(arguments.folder), arguments.against
    known = {None: render, "paper": render_against}
    print(known.get(reference, partial(render_versus, reference))(store.records(), arguments.format, store.cells()))


def report(arguments: argparse.Namespace) -> None:
    """prunebench report DIR: the table in all formats, every figure as png and svg, the page."""
    from bench.report.files import write_report

    for path in write_report(_store(arguments.folder)):
        print(path)


def measure(arguments: argparse.Namespace) -> None:
    """prunebench measure DIR: what every network of a run allocates when it runs, into its record."""
    from bench.measuring import measure_run
    from bench.units import format_mib

    store, count = _store(arguments.folder), 0
    for record in measure_run(store, _device(arguments)):
        count += 1
        place = f"{record.cell.label}, ratio {record.cell.ratio:g}, seed {record.cell.seed}"
        print(f"{place}: measured {format_mib(record.measured_bytes or 0)}, planned {format_mib(record.peak_bytes or 0)}", flush=True)
    print(f"{count} networks measured; prunebench table {store.folder} shows them" if count else "Nothing is left to measure there")


def sync(arguments: argparse.Namespace) -> int:
    """prunebench sync DIR: what MLflow does not have yet; exit code 1 if MLflow failed."""
    return _track(_store(arguments.folder))


def profile(arguments: argparse.Namespace) -> None:
    """prunebench profile BACKBONE: as text or JSON, and as a picture."""
    from bench.memory.profile import profile as profiled
    from bench.report.bands import check_ending, draw
    from bench.report.timeline import text
    from bench.surgery.compactors import insert, long_skips

    if arguments.plot:
        check_ending(arguments.plot)
    model, shape = _network(arguments)
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
    from bench.data_check import check_data, text
    from bench.options import assigned, configured
    from bench.registry import TASKS

    task = configured(TASKS.get(arguments.task), assigned(arguments.set), f"task {arguments.task}")
    checked = check_data(task, arguments.folder)
    print(json.dumps(asdict(checked), indent=1) if arguments.json else text(checked))


def listing(arguments: argparse.Namespace) -> None:
    """prunebench list methods|tasks|backbones|studies."""
    from bench.catalogue import catalogue, text

    entries = catalogue(arguments.kind)
    print(json.dumps(entries, indent=1, default=str) if arguments.json else text(entries))


def prune(arguments: argparse.Namespace) -> None:
    """prunebench prune METHOD: one budget, the network saved in a folder."""
    from bench.progress import TextProgress
    from bench.single import Wish, prune_once, text
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
    folder = arguments.out or PRUNED / f"{arguments.backbone}-{arguments.method}-{budget}"
    work = arguments.out / "run" if arguments.out else RUNS / "prune"
    print(text(*prune_once(wish, folder, work, _device(arguments), TextProgress()), folder))


# ---- what the commands share ---------------------------------------------------------------------------------------------------------


def _study(arguments: argparse.Namespace) -> Any:
    """The checked study, its data read once. Raises ConfigError before anything is written."""
    from bench.study import load_study

    study = load_study(
        arguments.study,
        overrides=arguments.set,
        data=arguments.data,
        seeds=_seeds(arguments.seeds),
        convention=arguments.convention,
    )
    study.cells()
    return study


def _seeds(text: str | None) -> list[int] | None:
    """ "0,1,2" as numbers. Raises ConfigError."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f"--seeds {text} is not a list of whole numbers; write for example --seeds 0,1,2")
    return [int(part) for part in parts]


def _out(arguments: argparse.Namespace) -> Path:
    """The run folder: --out, or results/runs/STUDY."""
    out: Path | None = arguments.out
    return out or RUNS / Path(arguments.study).stem


def _store(folder: Path) -> Any:
    """A run folder that is there. Raises ConfigError."""
    from bench.store import Store

    if not (folder / "study.json").is_file() and not (folder / "records").is_dir():
        raise ConfigError(f"{folder} holds no results; give the folder of a run, such as {RUNS / 'table1'}")
    return Store(folder)


def _device(arguments: argparse.Namespace) -> str:
    from bench.training import chosen_device

    return chosen_device(arguments.device)


def _track(store: Any) -> int:
    """Copies records to MLflow and says so; its failure is a warning. Returns 1 if it failed."""
    from bench.tracking import log_study, tracking_uri

    copied = log_study(store.folder, store.name(), store.records(), store.cells())
    if copied >= 0:
        print(f"MLflow: {copied} records copied to {tracking_uri(store.folder)}" if copied else "MLflow: nothing new to copy")
    return int(copied < 0)


def _executor(arguments: argparse.Namespace, study: Any) -> Any:
    """Where jobs run: side by side on the CPU where there are cores for it, one after the other elsewhere."""
    from bench.execution.processes import Processes, cores
    from bench.execution.serial import Serial

    workers = arguments.workers or (cores() // study.cells()[0].recipe.threads if _device(arguments) == "cpu" else 1)
    return Serial() if arguments.executor == "serial" or workers <= 1 else Processes(workers)


def _network(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The network that is profiled, a task's or from a file of the user's, and its input (several: a tuple). Raises ConfigError."""
    from bench.catalogue import built
    from bench.network_file import is_file, load
    from bench.options import assigned
    from bench.units import parse_shapes

    options = ({} if arguments.width is None else {"width": arguments.width}) | assigned(arguments.set)
    shapes = parse_shapes(arguments.shape) if arguments.shape else ()
    asked = shapes[0] if len(shapes) == 1 else shapes
    if not is_file(arguments.backbone):
        model, measured_at = built(arguments.backbone, arguments.task, options)
        return model, asked or measured_at
    if arguments.task:
        raise ConfigError(f"{arguments.backbone} is a network of your own and belongs to no task; leave --task out")
    if not asked:
        raise ConfigError(f"{arguments.backbone} has no task to take its input from; give it, for example --shape 1x3x256x256")
    return load(arguments.backbone, options), asked


COMMANDS = {
    "run": run,
    "pretrain": pretrain,
    "table": table,
    "report": report,
    "sync": sync,
    "measure": measure,
    "profile": profile,
    "prune": prune,
    "data": data,
    "list": listing,
}


if __name__ == "__main__":
    sys.exit(main())

"""How far does each architecture of the packages spandrel and spandrel_extra_arches come?

    pip install -c constraints.txt -e '.[spandrel-extra,onnx]'
    python -m results.trials.architectures --rows rows.json --out docs/architectures.md

builds the networks of architectures.toml with random weights; nothing is downloaded.

    trace       by this package; every operator must be known
    equal       the graph gives what the network gives
    least       there is something to prune
    uniform     half of the peak, the same share of every unit, sliced without training
    global_l2   half of the peak, by one ranking of all channels
    mosp        half of the peak by `prunebench.prune`, trained for a step between long strides, on
                the first output
    reload      the network of `uniform`, saved, gives the same in a fresh process
    lean        it gives the same by the lean executor
    onnx        it gives the same in ONNX Runtime

Each network runs in a process of its own, and each stage has a limit of processor time. What is
known is kept in --rows: the same command continues there, and tries small graphs first. `--stages
trace` takes three minutes, all stages take hours. Linux only.
"""

import argparse
import json
import multiprocessing
import tomllib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from bench.contract import Shape
from bench.files import atomic
from bench.plugins.registry import METHODS
from bench.units import as_shapes
from results.trials.architecture_stages import NEEDS, STAGES, Network, Row, Survey

LIST = Path(__file__).with_suffix(".toml")
SHOWN = STAGES[1:]
REASON_LENGTH = 160
NOTES = """
The least peak is the share of the peak that is left if every unit keeps one channel. Methods prune
to half of the peak. `-` stands for what was not tried, or not reached. Stages had 300 s of
processor time, but `onnx` of some large networks 150 s, and `mosp` of MoESR 900 s.

Before networks were traced at a shape, 25 of 94 were traced. Of those that are not traced now,
SeemoRe chooses layers by the values of an image, HVI-CIDNet chooses pixels, and DDColor reads what
forward hooks keep. `torch.export` (torch 2.13) follows HVI-CIDNet alone of these, so it is no other
way to a memory profile; `prunebench profile` tells what such networks need as run. AuraSR and
GFPGAN draw random numbers: no two runs agree.
"""


def read_list() -> tuple[list[Network], dict[str, str]]:
    """Return the networks of architectures.toml, and name -> reason of those left out."""
    tables = tomllib.loads(LIST.read_text("utf-8"))
    excluded = tables.pop("excluded")
    networks = []
    for package, architectures in tables.items():
        for architecture, rows in architectures.items():
            for name, given in rows.items():
                arguments = dict(given)
                text = arguments.pop("input", "1x3x64x64")
                shapes = tuple(_parse_shape(part) for part in text.split(","))
                cls = arguments.pop("class", architecture)
                shape = shapes if len(shapes) > 1 else shapes[0]
                networks.append(Network(name, package, architecture, cls, arguments, shape))
    return networks, excluded


def _parse_shape(text: str) -> Shape:
    n, c, h, w = map(int, text.split("x"))
    return n, c, h, w


def survey(network: Network, stages: Sequence[str], seconds: int) -> Row:
    """Try stages for one network in a process of its own.

    Each has so many seconds of processor time, and ten times as many on the clock.
    """
    fork = multiprocessing.get_context("fork")  # so that the packages are imported once
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_survey_in_process, args=(network, stages, seconds, sender))
    process.start()
    row = _new_row(network)
    while stage := row.next_stage(stages):
        wait([receiver, process.sentinel], 10 * seconds)
        if receiver.poll():
            row = receiver.recv()
            continue
        if process.is_alive():
            row.outcomes[stage] = f"took more than {10 * seconds} s"
        else:
            row.outcomes[stage] = f"the process ended with exit code {process.exitcode}"
        break
    process.kill()
    process.join()
    return row


def _survey_in_process(
    network: Network, stages: Sequence[str], seconds: int, sender: Connection
) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the packages
    row = _new_row(network)
    Survey(network, row).try_stages(stages, seconds, lambda: sender.send(row))


def _new_row(network: Network) -> Row:
    shape = ",".join("x".join(map(str, shape)) for shape in as_shapes(network.shape))
    return Row(network.name, network.package, network.architecture, shape)


def to_markdown(rows: Sequence[Row], excluded: Mapping[str, str]) -> str:
    """Return the page: counts, one table row for each network, and the reasons."""
    tried = Counter(stage for row in rows for stage in row.outcomes)
    passed = Counter(stage for row in rows for stage in row.outcomes if row.passed(stage))
    lines = [
        "# Architectures of others",
        "",
        "How far networks of the packages spandrel and spandrel_extra_arches come, with random",
        "weights and often fewer blocks than published. Made by",
        "`python -m results.trials.architectures`, whose header explains the stages; the arguments",
        "of each network are in [architectures.toml](../results/trials/architectures.toml).",
        "",
        f"Versions: {', '.join(_versions())}.",
        "",
        f"{len(rows)} networks of {len({row.architecture for row in rows})} architectures:",
        "",
        f"| stage | {' | '.join(STAGES)} |",
        f"| --- |{' ---: |' * len(STAGES)}",
        f"| passed | {' | '.join(str(passed[stage]) for stage in STAGES)} |",
        f"| tried | {' | '.join(str(tried[stage]) for stage in STAGES)} |",
        "",
        f"| network | input | parameters | peak MiB | least peak | {' | '.join(SHOWN)} | reason |",
        f"| --- | --- | ---: | ---: | ---: |{' --- |' * len(SHOWN)} --- |",
        *map(_markdown_row, rows),
        NOTES.rstrip(),
        *(["", "Left out:", ""] if excluded else []),
        *(f"- {name}: {reason}" for name, reason in excluded.items()),
    ]
    return "\n".join(lines) + "\n"


def _versions() -> list[str]:
    found = []
    for package in ("prunebench", "torch", "spandrel", "spandrel_extra_arches"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return found


def _markdown_row(row: Row) -> str:
    numbers = (
        f"{row.found['parameters']:,}" if "parameters" in row.found else "",
        f"{row.found['peak_mib']:.2f}" if "peak_mib" in row.found else "",
        f"{row.found['least_ratio']:.2f}" if "least_ratio" in row.found else "",
    )
    verdicts = ({None: "-", "": "yes"}.get(row.outcomes.get(stage), "no") for stage in SHOWN)
    stages_of: dict[str, list[str]] = {}
    for stage, reason in row.outcomes.items():
        if reason:
            stages_of.setdefault(reason[:REASON_LENGTH], []).append(stage)
    reasons = "; ".join(f"{', '.join(stages)}: {why}" for why, stages in stages_of.items())
    reasons = reasons.replace("|", "\\|").replace("<", "&lt;")
    return "| " + " | ".join((row.network, row.shape, *numbers, *verdicts, reasons)) + " |"


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="parts of names, with commas between")
    parser.add_argument("--stages", default=",".join(STAGES), help="with commas between")
    parser.add_argument("--out", type=Path, help="Markdown file; rows are kept in --rows")
    parser.add_argument("--rows", type=Path, help="JSON file to continue")
    parser.add_argument("--jobs", type=int, default=2, help="networks at a time")
    parser.add_argument("--seconds", type=int, default=300, help="processor time limit of a stage")
    return parser.parse_args()


def main() -> None:
    """Survey the networks, print a line for each, and write the table."""
    arguments = parse_arguments()
    stages = _with_needs(arguments.stages.split(","))
    networks, excluded = read_list()
    rows: dict[str, Row] = {}
    if arguments.rows and arguments.rows.exists():
        rows = {row["network"]: Row(**row) for row in json.loads(arguments.rows.read_text())}
    asked = arguments.only.lower().split(",")
    chosen = [
        network
        for network in networks
        if any(part in f"{network.architecture} {network.name}".lower() for part in asked)
        and rows.get(network.name, _new_row(network)).next_stage(stages)
    ]
    chosen.sort(key=lambda each: _operators(rows.get(each.name)))
    for package in sorted({network.package for network in networks}):
        import_module(package)
    METHODS.names()  # imports the methods once, before the forks
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for row in pool.map(lambda n: survey(n, stages, arguments.seconds), chosen):
            known = rows.setdefault(row.network, row)
            known.outcomes |= row.outcomes
            known.found |= row.found
            failed = {stage: reason for stage, reason in row.outcomes.items() if reason}
            print(f"{row.network}: {failed or 'passed'}", flush=True)
            if arguments.rows:
                content = json.dumps([vars(each) for each in rows.values()], indent=1)
                atomic.write(arguments.rows, content.encode())
    if arguments.out:
        ordered = [rows[network.name] for network in networks if network.name in rows]
        atomic.write(arguments.out, to_markdown(ordered, excluded).encode())


def _with_needs(stages: Sequence[str]) -> list[str]:
    """Return the stages with those that they need, in order."""
    wanted = set(stages)
    for stage in reversed(STAGES):
        if stage in wanted:
            wanted.add(NEEDS[stage])
    return [stage for stage in STAGES if stage in wanted]


def _operators(row: Row | None) -> int:
    return row.found.get("operators", 0) if row else 0


if __name__ == "__main__":
    main()

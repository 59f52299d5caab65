"""The arguments of the command line.

Nothing heavy is imported: `prunebench --help` answers at once.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from bench.errors import one_line

FORMATS = ("md", "csv", "tex", "json")
CONVENTIONS = ("planned", "eager")
KINDS = ("methods", "tasks", "backbones", "studies")
MISTAKE = 2
LARGEST = 1e12
MOST_DIGITS = 18
DEVICES = (1, 2, 4, 8)

Command = Callable[[argparse.Namespace], int | None]


class Parser(argparse.ArgumentParser):
    """One line for a mistake, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Prints and exits with code 2."""
        self.exit(MISTAKE, f"prunebench: {one_line(message)}; see {self.prog} --help\n")


def parser_of(commands_by_name: Mapping[str, Command]) -> Parser:
    """All commands and their arguments; `command` of what it parses is the function to call.

    Args:
        commands_by_name: what each command does.
    """
    parser = Parser(
        prog="prunebench",
        description="Compares structural pruning methods for image-restoration networks at equal peak memory.",
    )
    places = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, about: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = places.add_parser(name, help=about, description=about)
        one.set_defaults(command=commands_by_name[name])
        return one

    _run_arguments(command("run", "run a study: what is stored is not run again"))
    one = command("plan", "say what a study would run, and for how long on several devices")
    _study_arguments(one)
    what = "jobs at a time, such as GPUs; 1,2,4,8 by default"
    one.add_argument("--devices", type=_counts, default=DEVICES, metavar="1,2,4", help=what)
    one.add_argument("--json", action="store_true")
    one.set_defaults(retry_failed=False)
    _pretrain_arguments(command("pretrain", "train the unpruned networks of a study"))
    one = _folder_arguments(command("table", "print the table of a run, also while it is running"))
    one.add_argument("--format", choices=FORMATS, default="md")
    one.add_argument(
        "--against",
        metavar="paper|ROW",
        help="beside the published numbers, or, by photograph, beside the row of that label",
    )
    _folder_arguments(
        command(
            "report",
            "write the page, the tables and the figures of a run as files into its folder, also while it is running",
        )
    )
    _folder_arguments(command("sync", "copy to MLflow what it does not have yet"))
    _measure_arguments(
        command(
            "measure",
            "run every network of a run, or one, and say what that allocates and how long it takes",
        )
    )
    _profile_arguments(command("profile", "peak memory of a network, step by step"))
    _prune_arguments(command("prune", "prune one network to one budget and save it"))
    _export_arguments(
        command(
            "export",
            "write one saved network as ONNX, as safetensors with a JSON spec, or for the lean executor",
        )
    )
    one = command("new", "begin a method: a file that works, and its test")
    one.add_argument("name", metavar="NAME")
    one.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the files; the current one by default"
    )
    _check_arguments(
        command("check", "look at everything that a method or task promises, one line each")
    )
    data = command("data", "what a folder of photographs is to a task").add_subparsers(
        required=True, metavar="WHAT"
    )
    _data_arguments(
        data.add_parser(
            "check",
            help="splits, sizes, quality of the input, near-twins between training and test",
        )
    )
    one = command("list", "what there is to choose from")
    one.add_argument("kind", choices=KINDS)
    _plugin_argument(one)
    one.add_argument("--json", action="store_true")
    return parser


def _plugin_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="a file that brings a method, task or backbone; may be repeated",
    )


def _study_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study",
        metavar="STUDY",
        help="name of a packaged study (prunebench list studies) or path of a .toml",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run folder; results/runs/STUDY by default"
    )
    parser.add_argument("--seeds", metavar="0,1,2", help="in place of the study's")
    _setting_arguments(parser, "any key of the study, such as recipe.finetune_steps=50")


def _setting_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """What commands that train share."""
    _plugin_argument(parser)
    parser.add_argument("--data", metavar="DIR", help='folder of photographs, or "embedded"')
    parser.add_argument("--set", action="append", default=[], metavar="K=V", help=what)
    parser.add_argument("--convention", choices=CONVENTIONS, help="in which the budget is counted")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _study_arguments(parser)
    what = "jobs side by side, one by one, or on several GPUs or machines"
    parser.add_argument(
        "--executor", choices=("processes", "serial", "ray"), default="processes", help=what
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="jobs at a time; by default as many as the cores allow, on a GPU one",
    )
    parser.add_argument(
        "--address",
        metavar="ADDR",
        help="ray: auto or HOST:PORT of a cluster; by default one on this machine alone",
    )
    parser.add_argument(
        "--gpus-per-job",
        type=_positive,
        metavar="R",
        help="ray: 0.5 lets two jobs share a GPU; 1 by default",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would run and for how long, and stop"
    )
    _time_limit_argument(parser)
    parser.add_argument(
        "--checkpoint-every",
        metavar="1m",
        help="how long a training goes on between two checkpoints; 1m by default",
    )
    parser.add_argument("--retry-failed", action="store_true", help="run failed cells again")
    parser.add_argument(
        "--no-mlflow", action="store_true", help="do not copy the records to MLflow"
    )
    parser.set_defaults(devices=DEVICES, json=False)  # of the plan that --dry-run prints


def _time_limit_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--time-limit",
        metavar="2h",
        help="what one cell may take (90s, 30m, 2h, 1d) after pretraining; else it has failed",
    )


def _pretrain_arguments(parser: argparse.ArgumentParser) -> None:
    _study_arguments(parser)


def _folder_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="a run folder, such as results/runs/table1"
    )
    return parser


def _measure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="CELL", help="a run folder, or the folder of one saved network"
    )
    what = "what runs the network; may be repeated, pytorch by default"
    parser.add_argument(
        "--executor", action="append", choices=("pytorch", "lean", "onnx"), help=what
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--shape",
        metavar="1x3x1024x2048",
        help="input (N, C, H, W) of one network; by default that of its budget",
    )


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="CELL", help="the folder of one saved network, or of a run"
    )
    parser.add_argument("--format", choices=("onnx", "safetensors", "lean"), required=True)
    parser.add_argument("--row", metavar="LABEL", help="which row of a run")
    parser.add_argument("--ratio", type=_positive, metavar="R", help="which ratio of a run")
    parser.add_argument("--seed", type=int, help="which seed of a run")
    parser.add_argument(
        "--shape",
        metavar="1x3x1024x2048",
        help="input (N, C, H, W) to write it for; by default that of its budget",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="file (onnx) or folder; in results/exported by default",
    )


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", metavar="NAME-or-FILE.py", help="a registered method or task, or a file with some"
    )
    _plugin_argument(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="K=V",
        help="an option of the method, such as samples=10",
    )
    parser.add_argument("--json", action="store_true")


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    _plugin_argument(parser)
    parser.add_argument("folder", metavar="DIR", help='folder of photographs, or "embedded"')
    parser.add_argument("--task", required=True, metavar="T")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="K=V",
        help="an option of the task, such as scale=4",
    )
    parser.add_argument("--json", action="store_true")


def _backbone_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", metavar="T", help="by default the first that has the backbone")
    parser.add_argument("--width", type=int, metavar="W", help="channels of the first level")


def _profile_arguments(parser: argparse.ArgumentParser) -> None:
    _plugin_argument(parser)
    parser.add_argument(
        "backbone",
        metavar="BACKBONE",
        help="name of a backbone, or PATH.py:NAME of a network of your own",
    )
    _backbone_arguments(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="K=V",
        help="an option of the backbone or its task",
    )
    parser.add_argument(
        "--shape",
        metavar="1x3x1024x2048",
        help="input (N, C, H, W), several with commas; by default the task's",
    )
    parser.add_argument("--convention", choices=CONVENTIONS, default="planned")
    parser.add_argument(
        "--compactors", action="store_true", help="with a compactor on every long skip connection"
    )
    parser.add_argument(
        "--top", type=_count, metavar="N", help="print only the N time steps with the most bytes"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the timeline as .png, .svg or .pdf"
    )
    parser.add_argument("--json", action="store_true")


def _count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or not int(text[:MOST_DIGITS]) > 0:
        raise argparse.ArgumentTypeError(f"{text[:80]} is not a whole number above 0")
    return int(text[:MOST_DIGITS])


def _positive(text: str) -> float:
    """A number above 0, small enough to count bytes with."""
    value = float(text)
    if not 0 < value < LARGEST:
        raise argparse.ArgumentTypeError(
            f"{text[:80]} is not a number above 0 and below {LARGEST:.0e}"
        )
    return value


def _counts(text: str) -> tuple[int, ...]:
    """ "1,2,4" as numbers above 0."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text} is not a list of whole numbers above 0, such as 1,2,4"
        )
    return tuple(int(part) for part in parts)


def _prune_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", metavar="METHOD")
    parser.add_argument("--backbone", required=True, metavar="B")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument(
        "--ratio", type=_positive, metavar="R", help="budget as a share of the unpruned peak"
    )
    budget.add_argument("--peak-mib", type=_positive, metavar="M", help="budget in MiB")
    _backbone_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    _time_limit_argument(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the network; results/pruned/NAME by default",
    )
    _setting_arguments(
        parser,
        "an option of the method, backbone or task, or a key of a study such as recipe.finetune_steps=50",
    )

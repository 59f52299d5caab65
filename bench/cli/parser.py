"""The parser class, the value types and the groups of arguments that commands share.

Nothing heavy is imported: `prunebench --help` answers at once.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from bench.errors import describe_unknown, one_line

CONVENTIONS = ("planned", "eager")
RUNTIME_CONVENTIONS = ("executorch", "onnxsim")  # of budgets alone: they have no time steps
EXIT_MISTAKE = 2
MAX_NUMBER = 1e12
MAX_DIGITS = 18
MAX_SHOWN_CHARACTERS = 80


class Command(Protocol):
    """A module of `bench.cli` that holds one command.

    Attributes:
        NAME: the word after `prunebench`.
        HELP: one line in the imperative, short enough for the list of commands.
        EXAMPLE: one command line, shown below the arguments.
    """

    NAME: str
    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Define the arguments of the command."""
        ...

    def run(self, arguments: argparse.Namespace) -> int | None:
        """Run the command and return its exit code; None means 0."""
        ...


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake with one line, and an unknown word with the nearest one."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise the error of a value that is none of the choices: argparse calls this."""
        if action.choices is not None and value not in action.choices:
            name = str(action.metavar or action.dest).lower()
            raise argparse.ArgumentError(None, describe_unknown(name, str(value), action.choices))

    def error(self, message: str) -> NoReturn:
        """Print the message on stderr and exit with code 2."""
        self.exit(EXIT_MISTAKE, f"prunebench: {one_line(message)}; see {self.prog} --help\n")


def positive_integer(text: str) -> int:
    """Parse a whole number above 0."""
    if not text.isdecimal() or len(text) > MAX_DIGITS or not int(text):
        raise argparse.ArgumentTypeError(
            f"{text[:MAX_SHOWN_CHARACTERS]} is not a whole number above 0"
        )
    return int(text)


def positive_integers(text: str) -> tuple[int, ...]:
    """Parse "1,2,4" as whole numbers above 0."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= MAX_DIGITS and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text[:MAX_SHOWN_CHARACTERS]} is not a list of whole numbers above 0, such as 1,2,4"
        )
    return tuple(int(part) for part in parts)


def positive_number(text: str) -> float:
    """Parse a number above 0, small enough to count bytes with."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < MAX_NUMBER:
        raise argparse.ArgumentTypeError(
            f"{text[:MAX_SHOWN_CHARACTERS]} is not a number above 0 and below {MAX_NUMBER:.0e}"
        )
    return value


def share(text: str) -> float:
    """Parse a number above 0 and at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(
            f"{text[:MAX_SHOWN_CHARACTERS]} is not a number above 0 and at most 1"
        )
    return value


def output_folder(text: str) -> Path:
    """Parse the path of a folder, which need not exist."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text[:MAX_SHOWN_CHARACTERS]} is a file; give a folder")
    return path


def add_plugin_argument(parser: argparse.ArgumentParser) -> None:
    """Add --plugin."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="load a Python file with methods, tasks or backbones; may be repeated",
    )


def add_set_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --set.

    Args:
        parser: of the command.
        what: which keys it sets, for the help text: "an option of the task, such as scale=4".
    """
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"set {what}; may be repeated",
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


RUN_HELP = "folder of a run, such as results/runs/table1; the run may still be in progress"


def add_run_folder_argument(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a run that exists."""
    parser.add_argument("folder", type=Path, metavar="RUN", help=RUN_HELP)


def add_progress_arguments(parser: argparse.ArgumentParser) -> None:
    """Add -v and -q."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-v",
        "--verbose",
        action="store_const",
        const=1,
        dest="verbosity",
        help="print one line more for each phase of a job",
    )
    group.add_argument(
        "-q",
        "--quiet",
        action="store_const",
        const=-1,
        dest="verbosity",
        help="print no progress but the cells that fail",
    )
    parser.set_defaults(verbosity=0)


STUDY_HELP = "name of a packaged study (prunebench list studies) or path of a .toml file"


def complete_study(prefix: str, **_: object) -> list[str]:
    """Return the packaged studies and .toml files that begin with a text, for a shell."""
    packaged = Path(__file__).parents[1] / "studies"
    names = [path.stem for path in packaged.glob("*.toml")] + [*map(str, Path().glob("*.toml"))]
    return [name for name in names if name.startswith(prefix)]


def add_study_arguments(
    parser: argparse.ArgumentParser, out: str = "run folder (default: results/runs/STUDY)"
) -> None:
    """Add the study, the folder `out` and what replaces values of the study."""
    study = parser.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    study.completer = complete_study  # type: ignore[attr-defined]
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="METHOD|FILE",
        help="add a row to the study: a method or a .py file with methods, as it is or with "
        "options, such as mosp:compactors=false; may be repeated",
    )
    parser.add_argument("--out", type=output_folder, metavar="FOLDER", help=out)
    parser.add_argument(
        "--seeds", metavar="LIST", help="seeds, such as 0,1,2 (default: those of the study)"
    )
    add_training_arguments(parser, "a key of the study, such as recipe.finetune_steps=50")


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a backbone or a checkpoint, and its options."""
    add_plugin_argument(parser)
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("backbone", nargs="?", metavar="BACKBONE", help=BACKBONE_HELP)
    add_checkpoint_argument(network)
    add_backbone_arguments(parser)
    add_set_argument(parser, "an option of the backbone or of its task")


def add_convention_argument(
    parser: argparse.ArgumentParser,
    convention: str | None = "planned",
    choices: Sequence[str] = CONVENTIONS,
) -> None:
    """Add --convention; without a default it is that of the study."""
    runtimes = ", or the runtime whose plan counts" if len(choices) > len(CONVENTIONS) else ""
    parser.add_argument(
        "--convention",
        choices=choices,
        default=convention,
        help=f"how peak memory is counted{runtimes} (default: {convention or 'that of the study'})",
    )


def add_training_arguments(
    parser: argparse.ArgumentParser,
    what_to_set: str,
    data: str | None = None,
    convention: str | None = None,
) -> None:
    """Add what all commands that train have.

    Args:
        parser: of the command.
        what_to_set: see `add_set_argument`.
        data: default of --data; None for that of the study.
        convention: default of --convention; None for that of the study.
    """
    add_plugin_argument(parser)
    parser.add_argument(
        "--data",
        default=data,
        metavar="FOLDER",
        help=f'folder of photographs, or "embedded" (default: {data or "that of the study"})',
    )
    add_set_argument(parser, what_to_set)
    add_convention_argument(parser, convention, CONVENTIONS + RUNTIME_CONVENTIONS)
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="device to train on: auto, cpu, cuda or mps (default: %(default)s)",
    )


def add_time_limit_argument(parser: argparse.ArgumentParser) -> None:
    """Add --time-limit."""
    parser.add_argument(
        "--time-limit",
        metavar="DURATION",
        help="time for a cell after pretraining, such as 90s, 30m, 2h or 1d; a cell that takes "
        "longer fails (default: no limit)",
    )


def add_executor_argument(parser: argparse.ArgumentParser, choices: Sequence[str]) -> None:
    """Add --executor."""
    meanings = {
        "processes": "each job in a fresh process on this machine",
        "serial": "all in this process, for debugging: an exit or a crash of a method ends the run",
        "ray": "on several GPUs or machines",
    }
    parser.add_argument(
        "--executor",
        choices=choices,
        default="processes",
        help="; ".join(f"{name}: {meanings[name]}" for name in choices) + " (default: %(default)s)",
    )


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task and the width of one backbone."""
    parser.add_argument(
        "--task", metavar="TASK", help="task (default: the first one that has the backbone)"
    )
    parser.add_argument(
        "--width",
        type=int,
        metavar="N",
        help="channels of the first level (default: that of the backbone)",
    )


BACKBONE_HELP = "name of a backbone, or FILE.py:NAME of a function or Module that you wrote"


def add_checkpoint_argument(group: Any) -> None:
    """Add --checkpoint to a group of which one argument names the network."""
    group.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="weights of a network (.pth, .safetensors) whose architecture spandrel finds; "
        "the same as the backbone spandrel:FILE",
    )


def add_shape_argument(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add --shape."""
    parser.add_argument("--shape", metavar="SHAPE", help=help_text)

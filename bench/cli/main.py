"""The command line: build the parser, run one command, turn errors into exit codes.

Nothing heavy is imported before the arguments are parsed, so `prunebench --help` answers at once.
A shell completes commands, options and studies through argcomplete (docs/getting-started.md).
User input is checked before anything is written.

    exit code | meaning
        0     | the command did its work
        1     | a study ran to its end and some cells failed; a check failed; MLflow failed
        2     | a mistake of the user, told in one line on stderr
        130   | interrupted
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from bench.cli import (
    check,
    data,
    evaluate,
    export,
    fit,
    measure,
    new,
    plan,
    pretrain,
    profile,
    prune,
    report,
    results,
    run,
    sync,
    table,
)
from bench.cli import list as list_command
from bench.cli.parser import EXIT_MISTAKE, Command, Parser
from bench.cli.resolve import load_plugins
from bench.errors import BenchError
from bench.training.interrupts import sigterm_as_interrupt

EXIT_INTERRUPTED = 130
COMPLETION_VARIABLE = "_ARGCOMPLETE"  # set by the shell's completion
COMMANDS: tuple[Command, ...] = (  # in the order of `prunebench --help`
    run,
    plan,
    pretrain,
    table,
    report,
    results,
    sync,
    evaluate,
    measure,
    profile,
    fit,
    prune,
    export,
    new,
    check,
    data,
    list_command,
)


class ShowVersion(argparse.Action):
    """Print the version of the package and exit; the version is looked up only when asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        """Print "prunebench 0.1.0"."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"prunebench {version('prunebench')}")
        except PackageNotFoundError:
            parser.error("the package prunebench is not installed, so it has no version")
        parser.exit()


def build_parser() -> Parser:
    """Return the parser of all commands; it stores the module of the command in `command`."""
    parser = Parser(
        prog="prunebench",
        description="Compare structural pruning methods for image-restoration networks "
        "at equal peak memory.",
        epilog="prunebench COMMAND --help shows the arguments of a command",
    )
    parser.add_argument(
        "--version",
        action=ShowVersion,
        nargs=0,
        default=argparse.SUPPRESS,
        help="print the version and exit",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP,
            epilog=f"example: {command.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    _complete(parser)
    arguments = parser.parse_args(words)
    if "command" not in arguments:
        parser.print_help()
        return 0
    arguments.command_line = shlex.join(["prunebench", *words])
    try:
        with sigterm_as_interrupt():
            load_plugins(getattr(arguments, "plugin", ()))
            code = arguments.command.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (BenchError, OSError) as error:
        print(f"prunebench: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"\nprunebench: {_describe_interruption(arguments)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return int(code or 0)


def _complete(parser: Parser) -> None:
    """Print completions and exit, if a shell asks for them."""
    if COMPLETION_VARIABLE in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def _describe_interruption(arguments: argparse.Namespace) -> str:
    if arguments.command is run:
        return run.describe_interruption(arguments)
    return "interrupted; repeat the command to start again"


if __name__ == "__main__":
    sys.exit(main())

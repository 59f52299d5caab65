"""The command line: parsing and printing only; the commands are in `bench.cli`.

Nothing heavy is imported before the arguments are parsed, so that `prunebench --help` answers at
once. What is read from the user is checked before anything is written. A mistake of the user's is
one line on stderr and exit code 2; an interruption is one line and 130. A run some of whose cells
have failed is complete, and says so with exit code 1.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from bench.cli.looking import data, listing, profile
from bench.cli.making import check, new
from bench.cli.parser import MISTAKE, parser_of
from bench.cli.resolve import load_plugins, out_folder
from bench.cli.results import measure, report, sync, table
from bench.cli.running import export, plan, pretrain, prune, run
from bench.errors import BenchError
from bench.training.interrupts import heeding_sigterm

INTERRUPTED = 130
COMMANDS = {
    "run": run,
    "plan": plan,
    "pretrain": pretrain,
    "table": table,
    "report": report,
    "sync": sync,
    "measure": measure,
    "profile": profile,
    "prune": prune,
    "export": export,
    "new": new,
    "check": check,
    "data": data,
    "list": listing,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = parser_of(COMMANDS).parse_args(words)
    arguments.typed = shlex.join(["prunebench", *words])
    try:
        with heeding_sigterm():
            load_plugins(getattr(arguments, "plugin", ()))
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
    out = out_folder(arguments)
    stored = len(list((out / "records").glob("*.json")))
    begun = len(list(out.rglob("*.checkpoint")))
    there = f"{stored} record{'s' * (stored != 1)}" + (
        f", {begun} checkpoint{'s' * (begun != 1)} of trainings" if begun else ""
    )
    return f"interrupted; stored in {out}: {there}; the same command goes on from there, prunebench table {out} shows what is done"


if __name__ == "__main__":
    sys.exit(main())

"""The command `prunebench`, in a module whose name is its own.

A user's package named `bench` may come first on the path. Then the harness would not even be
reached, so this is checked from outside.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

OURS = Path(__file__).resolve().parent / "bench" / "__init__.py"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line of `bench.cli.main`, if `bench` is ours; returns the exit code."""
    found = find_spec("bench")
    origin = Path(found.origin).resolve() if found and found.origin else None
    if origin != OURS:
        place = (
            f"is taken by {origin}, which shadows prunebench's own in {OURS.parent}"
            if origin
            else f"is not in {OURS.parent}"
        )
        print(
            f"prunebench: 'bench' {place}; rename it or take its folder off PYTHONPATH",
            file=sys.stderr,
        )
        return 2
    from bench.cli.main import main as command

    return command(argv)


if __name__ == "__main__":
    sys.exit(main())

"""Keep standard output for a command's own lines: what others print goes to stderr.

Methods, networks and tasks of users may print, and start programs that do. `run > table.md` and
`check --json` hold none of it.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TypeVar

T = TypeVar("T")
STDOUT, STDERR = 1, 2  # descriptors


@contextmanager
def prints_go_to_stderr() -> Iterator[None]:
    """Send to stderr what is printed within the block, also by processes that it starts."""
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)


def quietly(items: Iterable[T]) -> Iterator[T]:
    """Yield items; what is printed while one is made goes to stderr."""
    iterator = iter(items)
    while True:
        with prints_go_to_stderr():
            found = next(([item] for item in iterator), None)
        if found is None:
            return
        yield found[0]

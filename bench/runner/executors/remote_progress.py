"""The progress of a job as messages to the process that waits for it.

("work", what) · ("phase", name) · ("step", (phase, done, steps, loss)) · ("search", (target, peak))
("cell", cell) · ("limited", (cell, limit, seconds left) or None)
"""

from collections.abc import Callable
from typing import Any

from bench.records import Cell
from bench.runner.progress import Progress

RESUME_HINT = "finished records are stored; repeat the command to continue"


class ProgressRelay(Progress):
    """Sends each event as a message.

    Args:
        send: called with the kind and the content of a message.
    """

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        self._send = send

    def on_work(self, what: str) -> None:
        """Send the name of the work."""
        self._send("work", what)

    def on_phase(self, name: str) -> None:
        """Send the phase."""
        self._send("phase", name)

    def on_search(self, target: float, peak: float | None = None) -> None:
        """Send how far the search is from its budget."""
        self._send("search", (target, peak))

    def on_cell(self, cell: Cell) -> None:
        """Send the cell."""
        self._send("cell", cell)

    def on_limit(self, cell: Cell, limit_seconds: float, left_seconds: float) -> None:
        """Send the cell, its time limit and the seconds that are left."""
        self._send("limited", (cell, limit_seconds, left_seconds))

    def on_limit_end(self) -> None:
        """Send that no time limit is running."""
        self._send("limited", None)

    def on_step(self, phase: str, done: int, steps: int, loss: float | None = None) -> None:
        """Send the step."""
        self._send("step", (phase, done, steps, loss))


def replay(kind: str, content: Any, progress: Progress) -> None:
    """Tell a listener what a message of a relay says; do nothing for other messages."""
    if kind == "work":
        progress.on_work(content)
    elif kind == "phase":
        progress.on_phase(content)
    elif kind == "search":
        progress.on_search(*content)
    elif kind == "step":
        progress.on_step(*content)

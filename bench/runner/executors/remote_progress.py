"""What a job says while it works, as messages to whoever waits for it.

("phase", name) · ("step", (what, done, steps)) · ("limited", (cell, limit, seconds left) or None)
"""

from collections.abc import Callable
from typing import Any

from bench.records import Cell
from bench.runner.progress import Progress

GO_ON = "finished records are stored, and the same command goes on"


class Relay(Progress):
    """Sends on what is worked on.

    Args:
        send: of a kind and a content.
    """

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        self._what, self._send = "", send

    def working(self, what: str) -> None:
        """Kept for the next step."""
        self._what = what

    def phase(self, name: str) -> None:
        """Sent on."""
        self._send("phase", name)

    def limited(self, cell: Cell, limit_seconds: float, left_seconds: float) -> None:
        """Sent on."""
        self._send("limited", (cell, limit_seconds, left_seconds))

    def unlimited(self) -> None:
        """Sent on."""
        self._send("limited", None)

    def step(self, phase: str, done: int, steps: int) -> None:
        """Sent on, with what it belongs to."""
        self._send("step", (f"{self._what}: {phase}", done, steps))

"""A process that works for another one: jobs come over a pipe, and what happens goes back over it.

To the parent: ("record", Record), ("phase", name), ("step", (what, done, steps)), ("limited", (cell, limit, seconds left) or None),
("end", None) after each job, ("error", an exception) for what is no row. A thread does the sending, so that a signal, which is always
handled in the main thread, cannot cut a message in two; what has been sent arrives, even if the process is killed at once.
An interruption of the terminal is the parent's business, which asks to stop with SIGTERM; without a parent there is nothing to work for.
"""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread
from types import FrameType
from typing import Any

from bench.cell import Cell
from bench.errors import BenchError, PluginError
from bench.progress import Progress
from bench.run import Work


def serve(connection: Connection, work: Work) -> None:
    """Works until the parent closes the pipe, wants it to stop, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError, OSError):
        signal.signal(signal.SIGTERM, _stop)
        relay = _Relay(connection)
        while True:
            _do(connection.recv(), work, relay)


def _do(job: Any, work: Work, relay: "_Relay") -> None:
    try:
        for record in work(job, relay):
            relay.send("record", record)
        relay.send("end", None)
    except (BenchError, OSError) as error:
        relay.send("error", error)
    except Exception as error:
        relay.send("error", PluginError(f"a worker ended early ({error!r}); finished records are stored, and the same command goes on"))


class _Relay(Progress):
    """Sends what is worked on to the parent."""

    def __init__(self, connection: Connection) -> None:
        self._what, self._connection, self._sender = "", connection, ThreadPoolExecutor(1)

    def send(self, kind: str, content: Any) -> None:
        """Returns once it is sent; nobody listens to what a worker says while it stops."""
        with suppress(OSError):
            self._sender.submit(self._connection.send, (kind, content)).result()

    def working(self, what: str) -> None:
        """Kept for the next step."""
        self._what = what

    def phase(self, name: str) -> None:
        """Sent on."""
        self.send("phase", name)

    def limited(self, cell: Cell, limit_seconds: float, left_seconds: float) -> None:
        """Sent on."""
        self.send("limited", (cell, limit_seconds, left_seconds))

    def unlimited(self) -> None:
        """Sent on."""
        self.send("limited", None)

    def step(self, phase: str, done: int, steps: int) -> None:
        """Sent on, with what it belongs to."""
        self.send("step", (f"{self._what}: {phase}", done, steps))


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

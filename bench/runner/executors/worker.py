"""A process that works for another one: jobs come over a pipe, and what happens goes back over it.

To the parent: what bench.runner.executors.remote_progress says, ("record", Record), ("end", None)
after each job, ("error", an exception) for what is no row. A thread does the sending, so that a
signal, which is always handled in the main thread, cannot cut a message in two; what has been sent
arrives, even if the process is killed at once. An interruption of the terminal is the parent's
business, which asks to stop with SIGTERM; without a parent there is nothing to work for.
"""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import RLock, Thread
from typing import Any

from tqdm import tqdm

from bench.errors import BenchError, PluginError
from bench.runner.executors.remote_progress import GO_ON, Relay
from bench.runner.run import Work
from bench.training.interrupts import interrupt


def serve(connection: Connection, work: Work) -> None:
    """Works until the parent closes the pipe, wants it to stop, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(
        RLock()
    )  # torch.fx uses tqdm, whose own lock is one of the system: a killed worker would leave it behind
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError, OSError):
        signal.signal(signal.SIGTERM, interrupt)
        send = _Sender(connection)
        while True:
            _do(connection.recv(), work, send)


def _do(job: Any, work: Work, send: "_Sender") -> None:
    try:
        for record in work(job, Relay(send)):
            send("record", record)
        send("end", None)
    except (BenchError, OSError) as error:
        send("error", error)
    except Exception as error:
        send("error", PluginError(f"a worker ended early ({error!r}); {GO_ON}"))


class _Sender:
    """Returns from each message once it is sent; nobody listens to what a worker says while it stops."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._thread = connection, ThreadPoolExecutor(1)

    def __call__(self, kind: str, content: Any) -> None:
        with suppress(OSError):
            self._thread.submit(self._connection.send, (kind, content)).result()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

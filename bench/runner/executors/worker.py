"""A worker process: it runs one job and sends what happens over a pipe.

To the parent: the messages of bench.runner.executors.remote_progress, ("record", Record), ("end",
None) after the job, ("error", an exception) for an error that is not a row. A thread sends them,
so that a signal, which is always handled in the main thread, cannot cut a message in two; what has
been sent arrives, even if the process is killed at once. An interruption of the terminal is left to
the parent, which stops its workers with SIGTERM. A worker ends with its parent.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import RLock, Thread
from typing import Any

from tqdm import tqdm

from bench.errors import BenchError, PluginError
from bench.runner.executors.remote_progress import RESUME_HINT, ProgressRelay
from bench.runner.run import JobRunner
from bench.training.interrupts import raise_interrupt


def serve(
    connection: Connection, runner: JobRunner, job: Any, environment: Mapping[str, str]
) -> None:
    """Run a job, unless the parent sends SIGTERM or is gone.

    Args:
        connection: to the parent.
        runner: runs the job.
        job: the job.
        environment: the parent's variables; a process that a server has forked has the server's.
    """
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # torch.fx uses tqdm, whose default lock belongs to the system: a killed worker would leak it.
    tqdm.set_lock(RLock())
    Thread(target=_exit_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError, OSError):
        signal.signal(signal.SIGTERM, raise_interrupt)
        _run_job(job, runner, _Sender(connection))


def _run_job(job: Any, runner: JobRunner, send: "_Sender") -> None:
    try:
        for record in runner(job, ProgressRelay(send)):
            send("record", record)
        for stream in (sys.stdout, sys.stderr):  # the parent kills this process at its end
            stream.flush()
        send("end", None)
    except (BenchError, OSError) as error:
        send("error", error)
    except Exception as error:
        send("error", PluginError(f"a worker ended early ({error!r}); {RESUME_HINT}"))


class _Sender:
    """Sends messages, each before it returns; ignores a pipe that the parent has closed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, kind: str, content: Any) -> None:
        with suppress(OSError):
            self._thread.submit(self._connection.send, (kind, content)).result()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

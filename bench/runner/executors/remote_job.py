"""A job on another machine: it gets the files that it needs, and sends back messages with files.

    "work", "phase", "step", "limited"     as in bench.runner.executors.remote_progress
    "record"  a record, with the files that were written for it
    "files"   None, with the files that are left, for a job without records

The machines share nothing but this package, and at the same path the photographs, plugins and the
user's network files. Method and photographs are compared before a job starts, because others would
give other results.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import gettempdir
from threading import Thread
from typing import Any

from bench.errors import ConfigError
from bench.files import atomic
from bench.plugins.options import build_task
from bench.plugins.registry import METHODS, load_plugin
from bench.plugins.source_files import method_source
from bench.records import Cell
from bench.runner.environment import installed_version
from bench.runner.executors.remote_progress import ProgressRelay
from bench.runner.run import AnyJob, JobRunner
from bench.study.store import Store
from bench.study.study import Job
from bench.torch_state import choose_device

POLL_SECONDS = 1.0
LOCAL_FOLDERS = ("work", "locks")  # folders of a run that only its own machine needs
Files = Mapping[str, bytes]  # path below the run folder -> content
Message = tuple[str, Any, Files]


def first_cell(job: AnyJob) -> Cell:
    """Return one cell of a job; all share their network, method and photographs."""
    return job.cells[0] if isinstance(job, Job) else job.cell


def prunebench_version() -> str:
    """Return the installed version of prunebench."""
    return installed_version("prunebench") or "unknown"


def network_files(folder: Path, key: str) -> dict[str, bytes]:
    """Return the files of an unpruned network, if the store has them.

    Those that come with the package are on every machine.
    """
    pretrained = Store(folder).pretrained_folder
    paths = [pretrained / f"{key}.{ending}" for ending in ("safetensors", "json")]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()
    }


def _pack_new_files(folder: Path, packed: set[str]) -> dict[str, bytes]:
    """Return the files of a run folder whose names are not in `packed`, and add them to it."""
    paths = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    new = {
        name: path
        for name, path in paths.items()
        if name not in packed and name.split("/")[0] not in LOCAL_FOLDERS
    }
    packed.update(new)
    return {name: path.read_bytes() for name, path in new.items()}


def unpack(files: Files, folder: Path) -> None:
    """Write files below a run folder."""
    for name, content in files.items():
        atomic.write(folder / name, content)


def run_remotely(
    job: AnyJob, runner: JobRunner, network: Files, driver_version: str
) -> Iterator[Message]:
    """Run a job on this node in a temporary folder, and yield its messages as they come.

    Args:
        job: the job.
        runner: runs it; its folder is replaced.
        network: files of the unpruned network.
        driver_version: version of prunebench on the machine that sent the job.

    Raises:
        ConfigError: this node has another program, method or other photographs than the driver.
    """
    parent = os.getppid()
    _check_same_inputs(job, runner, driver_version)
    atomic.clear_drafts(Path(gettempdir()), f"{atomic.SCRATCH}*.draft")  # of killed jobs
    with atomic.scratch_folder(Path(gettempdir())) as folder:
        unpack(network, folder)
        messages: SimpleQueue[Message | BaseException | None] = SimpleQueue()
        local_runner = replace(runner, folder=folder)
        arguments = (job, local_runner, set(network), messages)
        # A thread of its own, so that the job continues while no message is read.
        Thread(target=_run_job, args=arguments, daemon=True).start()
        while (message := _next_message(messages, parent, folder)) is not None:
            if isinstance(message, BaseException):
                raise message
            yield message


def _next_message(messages: SimpleQueue, parent: int, folder: Path) -> Any:
    """Wait for the next message.

    Removes the folder and ends this process if its parent is gone: no one reads the messages then.
    """
    while True:
        try:
            return messages.get(timeout=POLL_SECONDS)
        except Empty:
            if os.getppid() != parent:
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(1)


def _run_job(job: AnyJob, runner: JobRunner, packed: set[str], messages: SimpleQueue) -> None:
    """Run a job and put its messages into a queue; at the end None, or the error."""
    relay = ProgressRelay(lambda kind, content: messages.put((kind, content, {})))
    try:
        for record in runner(job, relay):
            messages.put(("record", record, _pack_new_files(runner.folder, packed)))
        messages.put(("files", None, _pack_new_files(runner.folder, packed)))
        messages.put(None)
    except BaseException as error:
        messages.put(error)


def _check_same_inputs(job: AnyJob, runner: JobRunner, driver_version: str) -> None:
    """Raise ConfigError if this node has another program, method or data than the driver."""
    cell = first_cell(job)
    node = socket.gethostname()
    for path in runner.plugins:
        load_plugin(path)
    choose_device(runner.device)
    if prunebench_version() != driver_version:
        raise ConfigError(
            f"{node} has prunebench {prunebench_version()} and the driver {driver_version}; "
            "install the same on both"
        )
    if method_source(METHODS.get(cell.method)) != cell.method_source:
        raise ConfigError(
            f"{node} has another source of method {cell.method} than the driver; "
            "install the same on both"
        )
    if build_task(cell).fingerprint(cell.data) != cell.data_fingerprint:
        raise ConfigError(
            f"{node} has other photographs in {cell.data} than the driver; "
            "every node needs the same at the same path"
        )

"""A job on another machine, whatever brought it there: it is handed what it needs, and says what happens with the files that belong to it.

    "phase", "step", "limited"     as bench.runner.executors.remote_progress says them
    "record"  a record, with the files that were written for it
    "files"   nothing, with the files that are left, of a job that makes no records

Nothing is shared with the machine that asks but this package, and at the same path the photographs,
plugins and network files of the user's own. They are compared before a job begins: another method,
other photographs would answer another question.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from bench.errors import ConfigError
from bench.files import atomic
from bench.plugins.options import cell_task
from bench.plugins.registry import METHODS, load_plugin
from bench.records import Cell
from bench.runner.environment import version_of
from bench.runner.executors.remote_progress import Relay
from bench.runner.run import AnyJob, Work
from bench.study.store import Store
from bench.study.study import Job, method_source
from bench.training.trainer import chosen_device

LOOK_SECONDS = 1.0
STAY = ("work", "locks")  # folders of a run that are for one machine alone
Files = Mapping[str, bytes]  # path below the run folder -> content
Message = tuple[str, Any, Files]


def first_cell(job: AnyJob) -> Cell:
    """One of its cells, which share their network, their method and their photographs."""
    return job.cells[0] if isinstance(job, Job) else job.cell


def our_version() -> str:
    """Of prunebench, as it is installed."""
    return version_of("prunebench") or "unknown"


def network_files(folder: Path, key: str) -> dict[str, bytes]:
    """The files of an unpruned network, if the store has them; those of the package are everywhere."""
    paths = [
        Store(folder).pretrained_folder / f"{key}.{ending}" for ending in ("safetensors", "json")
    ]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()
    }


def _packed(folder: Path, known: set[str]) -> dict[str, bytes]:
    """The files of a run folder that are not known yet; they are known from now."""
    found = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    new = {
        name: path
        for name, path in found.items()
        if name not in known and name.split("/")[0] not in STAY
    }
    known.update(new)
    return {name: path.read_bytes() for name, path in new.items()}


def unpack(files: Files, folder: Path) -> None:
    """Writes files below a run folder."""
    for name, content in files.items():
        atomic.write(folder / name, content)


def said_by(job: AnyJob, work: Work, network: Files, driver: str) -> Iterator[Message]:
    """On a node: what a job has to say, each as it happens."""
    parent = os.getppid()
    _check_same(job, work, driver)
    with TemporaryDirectory(prefix="prunebench-") as name:
        folder = Path(name)
        unpack(network, folder)
        messages: SimpleQueue[Message | BaseException | None] = SimpleQueue()
        Thread(
            target=_work,
            args=(job, replace(work, folder=folder), set(network), messages),
            daemon=True,
        ).start()
        while (message := _heard(messages, parent)) is not None:
            if isinstance(message, BaseException):
                raise message
            yield message


def _heard(messages: SimpleQueue, parent: int) -> Any:
    """The next message.

    Where what started this process is gone, so is whoever would read it, and this process ends.
    """
    while True:
        try:
            return messages.get(timeout=LOOK_SECONDS)
        except Empty:
            if os.getppid() != parent:
                os._exit(1)


def _work(job: AnyJob, work: Work, known: set[str], messages: SimpleQueue) -> None:
    """On a node, beside what hands the messages over: training goes on while nobody reads them."""
    try:
        for record in work(job, Relay(lambda kind, content: messages.put((kind, content, {})))):
            messages.put(("record", record, _packed(work.folder, known)))
        messages.put(("files", None, _packed(work.folder, known)))
        messages.put(None)
    except BaseException as error:
        messages.put(error)


def _check_same(job: AnyJob, work: Work, driver: str) -> None:
    """On a node: raises ConfigError if the answer would be one to another question."""
    cell, node = first_cell(job), socket.gethostname()
    for path in work.plugins:
        load_plugin(path)
    chosen_device(work.device)
    if our_version() != driver:
        raise ConfigError(
            f"{node} has prunebench {our_version()} and the driver {driver}; install the same on both"
        )
    if method_source(METHODS.get(cell.method)) != cell.method_source:
        raise ConfigError(
            f"{node} has another source of method {cell.method} than the driver; install the same on both"
        )
    if cell_task(cell).fingerprint(cell.data) != cell.data_fingerprint:
        raise ConfigError(
            f"{node} has other photographs in {cell.data} than the driver; every node needs the same at the same path"
        )

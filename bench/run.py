"""From question to row.

study -> cells -> jobs (all ratios of one method, network and seed)
model   = pretrained(...)                              trained once, shared by all
budgets = ratios x peak of the unpruned model
for each job, wherever its executor runs it: records (bench.job) -> store
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from bench.cell import Cell, Record
from bench.errors import PluginError
from bench.forecast import Forecast, foresee
from bench.job import cell_task, run_job
from bench.pretrained import pretrained, pretrained_key
from bench.progress import Progress
from bench.store import Store
from bench.study import Job, Study
from bench.training import chosen_device


@dataclass(frozen=True)
class Work:
    """Runs a job, here or in another process: its records, largest budget first. Writes networks to the store, but no records.

    Args:
        folder: of the store.
        device: on which networks are trained.
    """

    folder: Path
    device: str

    def __call__(self, job: Job, progress: Progress) -> Iterator[Record]:
        """The records of one job."""
        return run_job(job, Store(self.folder), self.device, progress)


class Executor(Protocol):
    """Where jobs run."""

    workers: int

    def run_all(self, jobs: Sequence[Job], work: Work, progress: Progress) -> Iterator[Record]:
        """The records of all jobs, each as soon as it is there."""
        ...


def run_study(
    study: Study,
    store: Store,
    executor: Executor,
    *,
    device: str = "cpu",
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> list[Record]:
    """Runs what is missing and returns all records in the order of the study.

    Args:
        study: what to ask.
        store: where answers are and go; a key that is there is not run again.
        executor: where jobs run, a member of bench.execution.
        device: "auto", "cpu", "cuda" or "mps".
        retry_failed: run cells again whose record says "failed".
        progress: listens.

    Raises:
        ConfigError: the data or the device cannot be used.
    """
    progress, device = progress or Progress(), chosen_device(device)
    cells = study.cells()
    for task, data in {(cell_task(cell), cell.data) for cell in cells}:
        task.test_sets(data)  # reads every photograph: a damaged one ends the run before anything is written
    missing = _missing(cells, store, retry_failed)
    forecast = foresee(missing, store, device)
    store.write_study(study.name, cells)
    foreseen_seconds = {entry.cell.key: entry.seconds / executor.workers for entry in forecast.cells}
    progress.begin(len(cells) - len(missing), foreseen_seconds, forecast.pretraining_seconds)
    for cell in {pretrained_key(cell): cell for cell in missing}.values():
        progress.working(f"unpruned {cell.backbone}, seed {cell.seed}")
        torch.set_num_threads(cell.recipe.threads)
        with suppress(PluginError, RuntimeError):  # its jobs will say so, each in its rows
            pretrained(cell_task(cell), cell, store.pretrained_folder, device, progress.step)
    for record in executor.run_all(study.jobs(missing), Work(store.folder, device), progress):
        store.write(record)
        progress.finished(record)
    return store.records()


def estimate(study: Study, store: Store, *, device: str = "cpu", retry_failed: bool = False) -> Forecast:
    """What `run_study` would run and about how long it would take; writes nothing."""
    return foresee(_missing(study.cells(), store, retry_failed), store, chosen_device(device))


def _missing(cells: Sequence[Cell], store: Store, retry_failed: bool) -> list[Cell]:
    """The cells that have no record, or one that failed and is to be tried again."""
    records = {cell.key: store.read(cell.key) for cell in cells}
    return [cell for cell in cells if (record := records[cell.key]) is None or (retry_failed and record.status == "failed")]

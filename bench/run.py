"""From question to row.

study -> cells -> jobs (all ratios of one method, network and seed)
model   = pretrained(...)                              trained once, shared by all
budgets = ratios x peak of the unpruned model
for each job, wherever its executor runs it: records (bench.job) -> store
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from bench import saved
from bench.atomic import LOG
from bench.backbones import of_cell
from bench.cell import Cell, Record, digest
from bench.errors import DiskError
from bench.forecast import Forecast, foresee
from bench.job import run_job
from bench.memory.profile import peak_memory
from bench.options import cell_task
from bench.pretrained import PACKAGED, pretrained, pretrained_key
from bench.progress import Progress
from bench.referee import check_fits
from bench.registry import load_plugin, plugin_files
from bench.store import Store
from bench.study import OF_A_NETWORK, Job, Study
from bench.training import chosen_device


@dataclass(frozen=True)
class Work:
    """Runs a job, here or in another process: its records, largest budget first. Writes networks to the store, but no records.

    Args:
        folder: of the store.
        device: on which networks are trained.
        plugins: files that bring methods, tasks or backbones.
    """

    folder: Path
    device: str
    plugins: tuple[Path, ...] = ()

    def __call__(self, job: Job, progress: Progress) -> Iterator[Record]:
        """The records of one job."""
        for path in self.plugins:
            load_plugin(path)
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
    command: str = "",
) -> list[Record]:
    """Runs what is missing and returns all records in the order of the study.

    Args:
        study: what to ask.
        store: where answers are and go; a key that is there is not run again.
        executor: where jobs run, a member of bench.execution.
        device: "auto", "cpu", "cuda" or "mps".
        retry_failed: run cells again whose record says "failed".
        progress: listens.
        command: what the user typed, kept beside the results.

    Raises:
        ConfigError: the data or the device cannot be used.
        DiskError: the disk keeps nothing more.
    """
    progress, device = progress or Progress(), chosen_device(device)
    cells = study.cells()
    check_inputs(cells, device)
    missing = _missing(cells, store, retry_failed)
    forecast = foresee(missing, store, device)
    store.write_study(study.name, cells, command)
    foreseen_seconds = {entry.cell.key: entry.seconds / executor.workers for entry in forecast.cells}
    progress.begin(len(cells) - len(missing), foreseen_seconds, forecast.pretraining_seconds)
    for cell in {pretrained_key(cell): cell for cell in missing}.values():
        try:
            pretrain(cell, (store.pretrained_folder, PACKAGED), device, progress)
        except DiskError:
            raise
        except Exception as error:  # the jobs of a network that cannot be trained will say so, each in its rows
            LOG.debug("%s is not trained: %s", cell.backbone, error)
    progress.working("")
    jobs = study.jobs(missing)
    if executor.workers > 1:  # the longest first, so that no long one is left alone at the end
        jobs.sort(key=lambda job: -sum(foreseen_seconds[cell.key] for cell in job.cells))
    for record in executor.run_all(jobs, Work(store.folder, device, plugin_files()), progress):
        store.write(record)
        progress.finished(record)
    return store.records()


def check_inputs(cells: Sequence[Cell], device: str = "cpu") -> None:
    """Raises ConfigError, before anything is written, for photographs or networks that cannot be used: every photograph is read."""
    for cell in {digest([getattr(cell, name) for name in OF_A_NETWORK]): cell for cell in cells}.values():
        task, draws = cell_task(cell), torch.Generator().manual_seed(0)
        for crops in (task.training_pairs(cell.data), task.calibration_pairs(cell.data)):
            degraded, clean = crops.sample(cell.recipe.batch if cell.backbone_source else 1, cell.recipe.patch, draws)
        task.test_sets(cell.data)
        model = of_cell(task, cell)
        if cell.backbone_source:
            check_fits(cell.backbone, model.to(device), task, degraded.to(device), clean.to(device))
        peak_memory(model, cell.measured_at, cell.convention)
        if cell.backbone_source:
            saved.check_savable(cell.backbone, model)


def pretrain(cell: Cell, folders: Sequence[Path], device: str, progress: Progress) -> None:
    """Trains the unpruned network of a cell into the first folder, unless one of the folders has it."""
    progress.working(f"unpruned {cell.backbone}, seed {cell.seed}")
    torch.set_num_threads(cell.recipe.threads)
    pretrained(cell_task(cell), cell, folders, device, progress.step)


def estimate(study: Study, store: Store, *, device: str = "cpu", retry_failed: bool = False) -> Forecast:
    """What `run_study` would run and about how long it would take; writes nothing."""
    cells, device = study.cells(), chosen_device(device)
    check_inputs(cells, device)
    return foresee(_missing(cells, store, retry_failed), store, device)


def _missing(cells: Sequence[Cell], store: Store, retry_failed: bool) -> list[Cell]:
    """The cells that have no record, or one that failed and is to be tried again."""
    records = {cell.key: store.read(cell.key) for cell in cells}
    return [cell for cell in cells if (record := records[cell.key]) is None or (retry_failed and record.status == "failed")]

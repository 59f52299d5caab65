"""From question to row.

study -> cells -> jobs (all ratios of one method, network and seed)
model   = pretrained(...)                              a job of its own: trained once, shared by all
budgets = ratios x peak of the unpruned model
for each job, wherever its executor runs it: records (bench.runner.job) -> store

Several runs may share a store: a job is claimed before it begins (bench.runner.queue).
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from bench.errors import DiskError
from bench.export import saved
from bench.files.hashing import digest
from bench.files.log import LOG
from bench.memory.profile import peak_memory
from bench.plugins.backbones import of_cell
from bench.plugins.options import cell_task
from bench.plugins.registry import load_plugin, plugin_files
from bench.records import Cell, Record
from bench.runner.forecast import Forecast, foresee
from bench.runner.job import run_job
from bench.runner.progress import Progress
from bench.runner.queue import Claims
from bench.runner.referee import check_fits
from bench.study.store import Store
from bench.study.study import OF_A_NETWORK, Job, Study
from bench.training.checkpoints import EVERY_SECONDS
from bench.training.pretrained import PACKAGED, find, pretrained, pretrained_key
from bench.training.trainer import chosen_device


@dataclass(frozen=True)
class Pretraining:
    """A job without records: the unpruned network of a cell, which others share."""

    cell: Cell

    @property
    def key(self) -> str:
        """Names the network."""
        return pretrained_key(self.cell)


AnyJob = Job | Pretraining


@dataclass(frozen=True)
class Work:
    """Runs a job, here or in another process: its records, largest budget first.

    Writes networks to the store, but no records.

    Args:
        folder: of the store.
        device: on which networks are trained.
        plugins: files that bring methods, tasks or backbones.
        checkpoint_seconds: between two checkpoints of a training.
        time_limit_seconds: for each cell (bench.runner.time_limit).
    """

    folder: Path
    device: str
    plugins: tuple[Path, ...] = ()
    checkpoint_seconds: float = EVERY_SECONDS
    time_limit_seconds: float | None = None

    def __call__(self, job: AnyJob, progress: Progress) -> Iterator[Record]:
        """The records of one job."""
        for path in self.plugins:
            load_plugin(path)
        store = Store(self.folder, self.checkpoint_seconds)
        if isinstance(job, Job):
            yield from run_job(job, store, self.device, progress, self.time_limit_seconds)
            return
        try:
            pretrain(
                job.cell,
                (store.pretrained_folder, PACKAGED),
                self.device,
                progress,
                self.checkpoint_seconds,
            )
        except DiskError:
            raise
        except (
            Exception
        ) as error:  # the jobs of a network that cannot be trained will say so, each in its rows
            LOG.debug("%s is not trained: %s", job.cell.backbone, error)


class Executor(Protocol):
    """Where jobs run."""

    workers: int

    def run_all(
        self, jobs: Claims[Any], work: Work, progress: Progress
    ) -> Generator[Record, None, None]:
        """The records of all jobs, each as soon as it is there.

        A job is taken when somebody is free, and done after its last record.
        """
        ...


def run_study(
    study: Study,
    store: Store,
    executor: Executor,
    *,
    device: str = "cpu",
    retry_failed: bool = False,
    time_limit_seconds: float | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> list[Record]:
    """Runs what is missing and returns all records in the order of the study.

    Args:
        study: what to ask.
        store: where answers are and go; a key that is there is not run again.
        executor: where jobs run, a member of bench.runner.executors.
        device: "auto", "cpu", "cuda" or "mps".
        retry_failed: run cells again whose record says "failed".
        time_limit_seconds: what a cell may take; one that takes longer has failed.
        progress: listens.
        command: what the user typed, kept beside the results.

    Raises:
        ConfigError: the data or the device cannot be used.
        DiskError: the disk keeps nothing more.
    """
    progress, device = progress or Progress(), chosen_device(device)
    cells = study.cells()
    check_inputs(cells, device)
    versions = {
        cell.key: store.version(cell.key) for cell in cells
    }  # before they are read: what comes later is another run's answer
    missing = _missing(cells, store, retry_failed)
    before = {cell.key: versions[cell.key] for cell in missing}
    forecast = foresee(missing, store, device)
    store.write_study(study.name, cells, command)
    foreseen_seconds = {
        entry.cell.key: entry.seconds / executor.workers for entry in forecast.cells
    }
    progress.begin(len(cells) - len(missing), foreseen_seconds, forecast.pretraining_seconds)
    jobs = [
        job
        for job in study.jobs(cells)
        if any(cell.key in before for cell in job.cells) or _has_leftovers(store, job)
    ]
    if executor.workers > 1:  # the longest first, so that no long one is left alone at the end
        jobs.sort(key=lambda job: -job.foreseen(foreseen_seconds))
    networks = {pretrained_key(cell): Pretraining(cell) for cell in missing}.values()
    first: Claims[Any] = Claims(networks, store.locks_folder, partial(_untrained, store))
    then: Claims[Any] = Claims(
        jobs,
        store.locks_folder,
        partial(_unanswered, store, before, progress),
        partial(_forget, store),
    )
    work = Work(store.folder, device, plugin_files(), store.checkpoint_seconds, time_limit_seconds)
    for wave in (first, then):
        with wave, closing(executor.run_all(wave, work, progress)) as records:
            for record in records:
                store.write(record)
                progress.finished(record)
        progress.working("")
    return store.records()


def _untrained(store: Store, job: Pretraining) -> Pretraining | None:
    """Nothing, where the network is there."""
    return job if find(job.cell, (store.pretrained_folder, PACKAGED)) is None else None


def _has_leftovers(store: Store, job: Job) -> bool:
    """Whether a run that was killed after its last cell has left checkpoints."""
    folder = store.checkpoints(job.cells[0]).folder
    return folder is not None and folder.is_dir()


def _forget(store: Store, job: Job) -> None:
    """Its checkpoints are not needed any more, unless a cell failed, which may be tried again."""
    if all(
        (record := store.read(cell.key)) is not None and record.status != "failed"
        for cell in job.cells
    ):
        store.checkpoints(job.cells[0]).forget()


def _unanswered(
    store: Store, before: Mapping[str, tuple[int, int] | None], progress: Progress, job: Job
) -> Job | None:
    """Less the cells that were answered before this run began (`before` has all others), or by another run since."""
    asked = [cell for cell in job.cells if cell.key in before]
    rest = tuple(
        cell
        for cell in asked
        if store.version(cell.key) == before[cell.key] or store.read(cell.key) is None
    )
    for cell in asked:
        if cell not in rest and (record := store.read(cell.key)) is not None:
            progress.finished(record)
    if not rest:
        _forget(store, job)
    return replace(job, cells=rest) if rest else None


def check_inputs(cells: Sequence[Cell], device: str = "cpu") -> None:
    """Raises ConfigError, before anything is written, for photographs or networks that cannot be used: every photograph is read."""
    for cell in {
        digest([getattr(cell, name) for name in OF_A_NETWORK]): cell for cell in cells
    }.values():
        task, draws = cell_task(cell), torch.Generator().manual_seed(0)
        for crops in (task.training_pairs(cell.data), task.calibration_pairs(cell.data)):
            degraded, clean = crops.sample(
                cell.recipe.batch if cell.backbone_source else 1, cell.recipe.patch, draws
            )
        task.test_sets(cell.data)
        model = of_cell(task, cell)
        if cell.backbone_source:
            check_fits(cell.backbone, model.to(device), task, degraded.to(device), clean.to(device))
        peak_memory(model, cell.measured_at, cell.convention)
        if cell.backbone_source:
            saved.check_savable(cell.backbone, model)


def pretrain(
    cell: Cell,
    folders: Sequence[Path],
    device: str,
    progress: Progress,
    checkpoint_seconds: float = EVERY_SECONDS,
) -> None:
    """Trains the unpruned network of a cell into the first folder, unless one of the folders has it."""
    progress.working(f"unpruned {cell.backbone}, seed {cell.seed}")
    torch.set_num_threads(cell.recipe.threads)
    pretrained(cell_task(cell), cell, folders, device, progress.step, checkpoint_seconds)


def estimate(
    study: Study, store: Store, *, device: str = "cpu", retry_failed: bool = False
) -> Forecast:
    """What `run_study` would run and about how long it would take; writes nothing."""
    cells, device = study.cells(), chosen_device(device)
    check_inputs(cells, device)
    return foresee(_missing(cells, store, retry_failed), store, device)


def _missing(cells: Sequence[Cell], store: Store, retry_failed: bool) -> list[Cell]:
    """The cells that have no record, or one that failed and is to be tried again."""
    records = {cell.key: store.read(cell.key) for cell in cells}
    return [
        cell
        for cell in cells
        if (record := records[cell.key]) is None or (retry_failed and record.status == "failed")
    ]

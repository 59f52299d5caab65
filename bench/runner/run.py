"""Run a study: from its cells to stored records.

    study -> cells -> jobs (all ratios of one method, network and seed)
    model   = load_or_train(...)             a job of its own: trained once, shared by all methods
    budgets = ratios x peak of the unpruned model
    for each job, wherever its executor runs it: records (bench.runner.job) -> store

Several runs may share a store: a job is locked before it starts (bench.runner.queue).
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
from bench.plugins.backbones import build_for_cell
from bench.plugins.options import build_task
from bench.plugins.registry import load_plugin, plugin_files
from bench.records import Cell, Record
from bench.runner.forecast import Forecast, forecast_cells
from bench.runner.job import run_job
from bench.runner.progress import Progress
from bench.runner.queue import JobQueue
from bench.runner.referee import check_fits, write_out_for_task
from bench.study.store import Store
from bench.study.study import NETWORK_FIELDS, Job, Study
from bench.torch_state import choose_device
from bench.training.checkpoints import CHECKPOINT_SECONDS
from bench.training.pretrained import PACKAGED_NETWORKS, find_weights, load_or_train, pretrained_key


@dataclass(frozen=True)
class Pretraining:
    """A job without records: training the unpruned network of a cell, which other cells share."""

    cell: Cell

    @property
    def key(self) -> str:
        """The key of the network."""
        return pretrained_key(self.cell)


AnyJob = Job | Pretraining


@dataclass(frozen=True)
class JobRunner:
    """Runs a job, here or in another process, and yields its records, largest budget first.

    Writes networks to the store, but no records.

    Args:
        folder: of the store.
        device: where networks are trained.
        plugins: files that register methods, tasks or backbones.
        checkpoint_seconds: time between two checkpoints of a training.
        time_limit_seconds: for each cell (bench.runner.time_limit).
    """

    folder: Path
    device: str
    plugins: tuple[Path, ...] = ()
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    time_limit_seconds: float | None = None

    def __call__(self, job: AnyJob, progress: Progress) -> Iterator[Record]:
        """Run one job and yield its records."""
        for path in self.plugins:
            load_plugin(path)
        store = Store(self.folder, self.checkpoint_seconds)
        if isinstance(job, Job):
            yield from run_job(job, store, self.device, progress, self.time_limit_seconds)
            return
        folders = (store.pretrained_folder, PACKAGED_NETWORKS)
        try:
            pretrain(job.cell, folders, self.device, progress, self.checkpoint_seconds)
        except DiskError:
            raise
        except Exception as error:
            # The jobs that need this network will fail on it too and report it in their rows.
            LOG.debug("%s is not trained: %s", job.cell.backbone, error)


class Executor(Protocol):
    """Where jobs run."""

    workers: int

    def run_all(
        self, queue: JobQueue[Any], runner: JobRunner, progress: Progress
    ) -> Generator[Record, None, None]:
        """Yield the records of all jobs, each as soon as it is made.

        A job is taken when a worker is free, and marked as done after its last record.
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
    """Run the missing cells of a study and return all records in the order of the study.

    Args:
        study: the cells to run.
        store: where records are stored; a cell that has one is not run again.
        executor: where jobs run, a class of bench.runner.executors.
        device: "auto", "cpu", "cuda" or "mps".
        retry_failed: run cells again whose record says "failed".
        time_limit_seconds: for each cell; one that takes longer has failed.
        progress: told what happens.
        command: the user's command line, stored with the results.

    Raises:
        ConfigError: the data or the device cannot be used.
        DiskError: the disk accepts no more data.
    """
    progress = progress or Progress()
    device = choose_device(device)
    cells = study.cells()
    check_inputs(cells, device)
    # Before the records are read: a file that is newer was written by another run.
    versions = {cell.key: store.version(cell.key) for cell in cells}
    missing = _missing_cells(cells, store, retry_failed)
    old_versions = {cell.key: versions[cell.key] for cell in missing}
    forecast = forecast_cells(missing, store, device)
    store.write_study(study.name, cells, command)
    seconds = {entry.cell.key: entry.seconds / executor.workers for entry in forecast.cells}
    progress.on_begin(len(cells) - len(missing), seconds, forecast.pretraining_seconds)
    jobs = [
        job
        for job in study.jobs(cells)
        if any(cell.key in old_versions for cell in job.cells) or _has_checkpoints(store, job)
    ]
    if executor.workers > 1:  # the longest first, so that no long one runs alone at the end
        jobs.sort(key=lambda job: -job.expected_seconds(seconds))
    runner = JobRunner(
        store.folder, device, plugin_files(), store.checkpoint_seconds, time_limit_seconds
    )
    pretraining_queue = _pretraining_queue(missing, store)
    for queue in (pretraining_queue, _job_queue(jobs, store, old_versions, progress)):
        with queue, closing(executor.run_all(queue, runner, progress)) as records:
            for record in records:
                store.write(record)
                progress.on_record(record)
        progress.on_work("")
    return store.records()


def _pretraining_queue(cells: Sequence[Cell], store: Store) -> JobQueue[Any]:
    jobs = {pretrained_key(cell): Pretraining(cell) for cell in cells}.values()
    return JobQueue(jobs, store.locks_folder, partial(_trim_pretraining, store))


def _job_queue(
    jobs: Sequence[Job],
    store: Store,
    old_versions: Mapping[str, tuple[int, int] | None],
    progress: Progress,
) -> JobQueue[Any]:
    return JobQueue(
        jobs,
        store.locks_folder,
        partial(_trim_job, store, old_versions, progress),
        partial(_delete_checkpoints, store),
    )


def _trim_pretraining(store: Store, job: Pretraining) -> Pretraining | None:
    """Return the job if its network is not stored yet, else None."""
    folders = (store.pretrained_folder, PACKAGED_NETWORKS)
    return job if find_weights(job.cell, folders) is None else None


def _has_checkpoints(store: Store, job: Job) -> bool:
    """Return whether a run that was killed after its last cell has left checkpoints."""
    folder = store.checkpoints(job.cells[0]).folder
    return folder is not None and folder.is_dir()


def _delete_checkpoints(store: Store, job: Job) -> None:
    """Delete the checkpoints of a job, unless a cell has failed and may be tried again."""
    records = (store.read(cell.key) for cell in job.cells)
    if all(record is not None and record.status != "failed" for record in records):
        store.checkpoints(job.cells[0]).delete()


def _trim_job(
    store: Store, old_versions: Mapping[str, tuple[int, int] | None], progress: Progress, job: Job
) -> Job | None:
    """Return the job without the cells that have a record; None if no cell is left.

    Args:
        store: has the records, also those that another run has written since this one started.
        old_versions: key -> version of the record file at the start, for all cells that this run
            wants.
        progress: told about records of another run.
        job: the whole job.
    """
    wanted = [cell for cell in job.cells if cell.key in old_versions]
    rest = tuple(
        cell
        for cell in wanted
        if store.version(cell.key) == old_versions[cell.key] or store.read(cell.key) is None
    )
    for cell in wanted:
        if cell not in rest and (record := store.read(cell.key)) is not None:
            progress.on_record(record)
    if not rest:
        _delete_checkpoints(store, job)
    return replace(job, cells=rest) if rest else None


def check_inputs(cells: Sequence[Cell], device: str = "cpu") -> None:
    """Read every photograph and build every network of a study, before anything is written.

    Raises ConfigError for those that cannot be used.
    """
    networks = {digest([getattr(cell, name) for name in NETWORK_FIELDS]): cell for cell in cells}
    for cell in networks.values():
        task = build_task(cell)
        generator = torch.Generator().manual_seed(0)
        count = cell.recipe.batch if cell.backbone_source else 1
        patch = cell.recipe.patch
        task.training_pairs(cell.data).sample(count, patch, generator)
        degraded, clean = task.calibration_pairs(cell.data).sample(count, patch, generator)
        task.test_sets(cell.data)
        model = build_for_cell(task, cell)
        if cell.backbone_source:
            check_fits(cell.backbone, model.to(device), task, degraded.to(device), clean.to(device))
            model = model.cpu().eval()
            model = write_out_for_task(model, cell.measured_at, task, cell.data, degraded)
        peak_memory(model, cell.measured_at, cell.convention)
        if cell.backbone_source:
            saved.check_savable(cell.backbone, model)


def pretrain(
    cell: Cell,
    folders: Sequence[Path],
    device: str,
    progress: Progress,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Train the unpruned network of a cell into the first folder, unless a folder has it."""
    progress.on_work(f"unpruned {cell.backbone}, seed {cell.seed}")
    torch.set_num_threads(cell.recipe.threads)
    load_or_train(
        build_task(cell),
        cell,
        folders,
        device=device,
        progress=progress.on_step,
        checkpoint_seconds=checkpoint_seconds,
    )


def forecast_study(
    study: Study, store: Store, *, device: str = "cpu", retry_failed: bool = False
) -> Forecast:
    """Forecast what `run_study` would run and how long it would take; writes nothing."""
    cells = study.cells()
    device = choose_device(device)
    check_inputs(cells, device)
    return forecast_cells(_missing_cells(cells, store, retry_failed), store, device)


def _missing_cells(cells: Sequence[Cell], store: Store, retry_failed: bool) -> list[Cell]:
    """Return the cells that have no record, or one that failed and is to be tried again."""
    records = {cell.key: store.read(cell.key) for cell in cells}
    return [
        cell
        for cell in cells
        if (record := records[cell.key]) is None or (retry_failed and record.status == "failed")
    ]

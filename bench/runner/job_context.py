"""What the cells of a job share: task, method, unpruned network, budgets, trainers."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bench.contract import Budget, Method, Task
from bench.memory.profile import peak_memory
from bench.plugins.backbones import initialise
from bench.plugins.options import build_task, configure
from bench.plugins.registry import METHODS
from bench.records import Cell
from bench.runner.failures import Phases
from bench.runner.plain_network import make_probes
from bench.runner.progress import Progress
from bench.runner.referee import write_out_for_task
from bench.runner.search_progress import SearchProgress
from bench.runner.time_limit import Deadline
from bench.study.store import Store
from bench.study.study import Job
from bench.training.pretrained import PACKAGED_NETWORKS, load_or_train, pretraining_scope
from bench.training.trainer import TaskTrainer


@dataclass(frozen=True)
class JobContext:
    """All that the cells of a job share.

    Args:
        task, method: configured.
        model: the unpruned network, on the CPU.
        probes: inputs on which networks are compared.
        cells: budget of the method -> the cells that its result answers.
        peak_bytes: of the unpruned network.
        store: where networks and checkpoints are.
        device: where networks are trained.
        progress, phases, deadline, search: told what is done.
    """

    task: Task
    method: Method
    model: nn.Module
    probes: list[Tensor]
    cells: dict[Budget, list[Cell]]
    peak_bytes: int
    store: Store
    device: str
    progress: Progress
    phases: Phases
    deadline: Deadline
    search: SearchProgress

    @property
    def first_cell(self) -> Cell:
        """One cell; all share their method, network and seed."""
        return next(iter(self.cells.values()))[0]

    def find_budget(self, cell: Cell) -> Budget:
        """Return the budget of a cell, within which its row runs the network."""
        return Budget(int(cell.ratio * self.peak_bytes), cell.measured_at, cell.convention)

    def make_trainer(self, stream: str, tuned: int = 0) -> TaskTrainer:
        """Return a trainer with its own random streams and meter, after `tuned` steps of tuning."""
        cell = self.first_cell
        return TaskTrainer(
            self.task,
            cell.data,
            cell.effective_recipe,
            cell.seed,
            device=self.device,
            progress=self.progress.on_step,
            stream=stream,
            initialise=initialise if cell.backbone_source else None,
            checkpoints=replace(
                self.store.checkpoints(cell),
                shared_folders=(self.store.pretrained_folder, PACKAGED_NETWORKS),
                scope=pretraining_scope(cell),
            ),
            enter_phase=self.phases.enter_phase,
            tuned=tuned,
            on_search=self.search.note_network,
            teacher=self.model,
        )


def prepare_job(
    job: Job, store: Store, device: str, progress: Progress, time_limit_seconds: float | None
) -> JobContext:
    """Train or load the unpruned network of a job and compute its budgets."""
    cell = job.cells[0]
    phases = Phases(progress)
    task = build_task(cell)
    method = configure(METHODS.get(cell.method), cell.method_options, f"method {cell.method}")
    with phases.enter_phase("pretrain"):
        model = load_or_train(
            task,
            cell,
            (store.pretrained_folder, PACKAGED_NETWORKS),
            device=device,
            progress=progress.on_step,
            checkpoint_seconds=store.checkpoint_seconds,
        )
    crops = task.training_pairs(cell.data).sample(1, cell.recipe.patch, torch.Generator())
    model = write_out_for_task(model, cell.measured_at, task, cell.data, crops[0])
    peak_bytes = peak_memory(model, cell.measured_at, cell.convention)
    cells: dict[Budget, list[Cell]] = {}
    for cell in job.cells:
        budget = Budget(
            int(cell.pruning_ratio * peak_bytes),
            cell.measured_at,
            cell.convention,
            cell.recipe.channel_multiple,
        )
        cells.setdefault(budget, []).append(cell)
    return JobContext(
        task=task,
        method=method,
        model=model,
        probes=make_probes(task, crops[0]),
        cells=cells,
        peak_bytes=peak_bytes,
        store=store,
        device=device,
        progress=progress,
        phases=phases,
        deadline=Deadline(time_limit_seconds, progress),
        search=SearchProgress(progress, peak_bytes),
    )

"""One job: a network, a method, some budgets; a record for each cell.

    for each budget, pruned of method.sweep(copy of model, budgets, trainer):
        referee: peak <= budget, a plain network, the same output shape
        finish as the method asks; evaluate; Record

The referee measures; the method never reports its own score. An error in a method becomes a row
(status `failed` or `infeasible`) and the other cells continue; a sweep that raises is started again
for the budgets that it has not answered. A disk that accepts no more data is no fault of the
method: it stops the run. The method's cost is read from its meter when it yields a network, so it
is the cost of that budget alone.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from bench.channels.bottleneck import find_bottleneck
from bench.channels.units import channel_layout
from bench.contract import Budget, Kept, Method, Pruned, Task, largest_first
from bench.errors import DiskError, Infeasible, PluginError, one_line
from bench.export import saved
from bench.files.schema import MAX_FLOAT
from bench.graph.lowering import trace
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory
from bench.plugins.backbones import initialise
from bench.plugins.options import build_task, configure
from bench.plugins.registry import METHODS
from bench.records import Cell, Record
from bench.runner.environment import describe_environment
from bench.runner.failures import Phases, failed_record
from bench.runner.finish import finish
from bench.runner.method_call import call_method, detach_result
from bench.runner.progress import Progress
from bench.runner.referee import referee, write_out_for_task
from bench.runner.search_progress import SearchProgress
from bench.runner.time_limit import Deadline
from bench.study.store import Store
from bench.study.study import Job
from bench.training.curves import Curve, thin_losses
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.meter import Cost
from bench.training.pretrained import PACKAGED_NETWORKS, load_or_train, pretraining_scope
from bench.training.sample_crops import crop_writer
from bench.training.trainer import TaskTrainer, derive_seed
from bench.units import format_mib


def run_job(
    job: Job,
    store: Store,
    device: str = "cpu",
    progress: Progress | None = None,
    time_limit_seconds: float | None = None,
) -> Iterator[Record]:
    """Yield the records of one job, largest budget first.

    Writes networks to the store, but no records.
    """
    progress = progress or Progress()
    torch.set_num_threads(job.cells[0].recipe.threads)
    left = list(job.cells)
    try:
        context = _prepare_job(job, store, device, progress, time_limit_seconds)
        for record in _run_cells(context):
            left.remove(record.cell)
            yield record
    except DiskError:
        raise
    except Exception as error:
        # The network cannot be trained, or the user's own network cannot be built.
        yield from (failed_record(cell, error) for cell in left)


@dataclass(frozen=True)
class _JobContext:
    """All that the cells of a job share."""

    task: Task
    method: Method
    model: nn.Module
    cells: dict[Budget, list[Cell]]
    store: Store
    device: str
    progress: Progress
    phases: Phases
    deadline: Deadline
    search: SearchProgress

    @property
    def first_cell(self) -> Cell:
        return next(iter(self.cells.values()))[0]

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
        )


def _prepare_job(
    job: Job, store: Store, device: str, progress: Progress, time_limit_seconds: float | None
) -> _JobContext:
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
        budget = Budget(int(cell.ratio * peak_bytes), cell.measured_at, cell.convention)
        cells.setdefault(budget, []).append(cell)
    return _JobContext(
        task=task,
        method=method,
        model=model,
        cells=cells,
        store=store,
        device=device,
        progress=progress,
        phases=phases,
        deadline=Deadline(time_limit_seconds, progress),
        search=SearchProgress(progress, peak_bytes),
    )


def _run_cells(context: _JobContext) -> Iterator[Record]:
    """Run the sweep and yield a record for each cell."""
    trainer = context.make_trainer("method")
    for budget, outcome in _sweep_outcomes(context, trainer):
        for cell in context.cells[budget]:
            yield _make_record(context, trainer, cell, budget, outcome)
        del outcome  # an error keeps all networks alive that its traceback can reach


def _sweep_outcomes(context: _JobContext, trainer: TaskTrainer) -> Iterator[tuple[Budget, Any]]:
    """Yield for every budget what the method gave back, or the exception that it raised."""
    waiting = largest_first(list(context.cells))
    cell = context.first_cell
    while waiting:
        with call_method(context.model, trainer, derive_seed(cell.seed, "torch")) as root:
            items = iter(context.method.sweep(root, list(waiting), trainer))
            while waiting:
                context.progress.on_work(f"'{cell.label}', seed {cell.seed}")
                try:
                    budget, outcome = _next_outcome(context, trainer, items, waiting)
                except DiskError:
                    raise
                except Exception as error:
                    yield waiting.pop(0), error
                    break
                waiting.remove(budget)
                rng_state = torch.get_rng_state()
                yield budget, outcome
                # Draws of the harness in between must not change those of the method.
                torch.set_rng_state(rng_state)
            getattr(items, "close", lambda: None)()


def _next_outcome(
    context: _JobContext,
    trainer: TaskTrainer,
    items: Iterator[tuple[Budget, Any]],
    waiting: Sequence[Budget],
) -> tuple[Budget, Any]:
    """Return the next item of a sweep. Raises PluginError if its budget is not waiting."""
    method = context.first_cell.method
    missing = PluginError(f"the sweep of {method} left out this budget")
    with (
        context.deadline.enforce(context.cells[waiting[0]][0]),
        context.phases.enter_phase("search"),
        trainer.meter.enter_phase("search"),
    ):
        context.search.aim(waiting[0])
        budget, outcome = next(items, (waiting[0], missing))
    if budget not in waiting:
        raise PluginError(
            f"the sweep of {method} yielded a budget that it was not asked for, or one twice: "
            f"{budget}"
        )
    return budget, outcome


def _make_record(
    context: _JobContext, trainer: TaskTrainer, cell: Cell, budget: Budget, outcome: Any
) -> Record:
    try:
        if isinstance(outcome, Infeasible):
            return _check_readable(_infeasible_record(context, cell, budget, outcome))
        if isinstance(outcome, Exception):
            raise outcome
        if not isinstance(outcome, Pruned):
            raise PluginError(f"{cell.method} gave back a {type(outcome).__name__}, not a Pruned")
        with context.deadline.enforce(cell):
            return _check_readable(_finish_and_evaluate(context, trainer, cell, budget, outcome))
    except DiskError:
        raise
    except Exception as error:
        return failed_record(cell, error, budget, "search")
    finally:
        context.deadline.reset()


def _check_readable(record: Record) -> Record:
    """Return the record.

    Raises PluginError if it could not be read again: its cell would then be run for ever.
    """
    try:
        Record.from_json(json.loads(json.dumps(record.to_json())))
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"its record cannot be stored: {error}; give plain, finite numbers and texts"
        ) from error
    return record


def _finish_and_evaluate(
    context: _JobContext, trainer: TaskTrainer, cell: Cell, budget: Budget, outcome: Pruned
) -> Record:
    """Check, finish, evaluate and save a network, and return its record."""
    spent = trainer.meter.cost()
    context.progress.on_work(f"'{cell.label}', ratio {cell.ratio:g}, seed {cell.seed}")
    pruned = detach_result(outcome, trainer)
    model = pruned.model
    enter_phase = context.phases.enter_phase
    finisher = context.make_trainer("finish", spent.tuning_steps)
    with enter_phase("check"):
        fields = measure_pruned_network(
            pruned, context.model, budget, method=cell.method, min_width=cell.recipe.min_width
        )
        kept = {unit: [int(index) for index in indices] for unit, indices in pruned.kept.items()}
    with enter_phase("evaluate"), finisher.branch():
        calibration_loss = finisher.loss(model)
    curve: Curve = []
    note = finish(finisher, pruned, curve)
    with enter_phase("evaluate"), finisher.meter.enter_phase("evaluate"):
        write_crops = crop_writer(context.task, *context.store.crop_folders(cell))
        scores = evaluate(context.task, model, cell.data, context.device, on_image=write_crops)
        _check_numbers(means(scores))
    with enter_phase("save"):
        _save_network(context, cell, model, kept, pruned.inserted)
    # Before its finish a network may have any loss.
    has_loss = abs(calibration_loss) <= MAX_FLOAT
    return Record(
        cell=cell,
        status="done",
        scores=scores,
        means=means(scores),
        input_means=_input_means(context.task, cell.data, cell.data_fingerprint),
        calibration_loss=calibration_loss if has_loss else None,
        kept=kept,
        inserted=tuple(pruned.inserted),
        trace=tuple(
            {"peak_bytes": step.peak_bytes, "widths": dict(step.widths), "note": step.note}
            for step in pruned.trace
        ),
        environment=describe_environment(context.device) | {"note": note, "finish": pruned.finish},
        calibration_psnr=tuple(curve),
        **fields,
        **_cost_fields(spent + finisher.meter.cost()),
    )


def _check_numbers(scores: Mapping[str, float]) -> None:
    """Raise PluginError if a score is not a number."""
    wrong = [f"{name} {value}" for name, value in scores.items() if math.isnan(value)]
    if wrong:
        raise PluginError(f"the scores of the network are not numbers: {', '.join(wrong)}")


def _save_network(
    context: _JobContext, cell: Cell, model: nn.Module, kept: Kept, inserted: Sequence[str]
) -> None:
    if cell.backbone_source:
        saved.check_kept(model, context.model, kept, inserted, cell.measured_at[1])
    folder = context.store.model_folder(cell.key)
    saved.save(folder, model, **cell.network_origin, kept=kept, inserted=inserted)


def measure_pruned_network(
    pruned: Pruned, unpruned: nn.Module, budget: Budget, *, method: str, min_width: int
) -> dict[str, Any]:
    """Return the referee's measurements as fields of the Record. Raises PluginError.

    Args:
        pruned: what the method gave back, after `detach_result`.
        unpruned: the network that it was made from.
        budget: the budget that was asked for.
        method: name for messages.
        min_width: the width at which a unit counts as being at the floor.
    """
    planned, eager = referee(pruned.model, unpruned, budget, method)
    graph = trace(pruned.model, budget.input_shape)
    layout = channel_layout(graph)
    widths = layout.widths
    bottleneck = find_bottleneck(graph, layout)
    stored_parameters = pruned.stored_parameters
    return {
        "budget_bytes": budget.peak_bytes,
        "peak_bytes": planned.peak_bytes,
        "peak_bytes_eager": eager.peak_bytes,
        "peak_step": planned.peak_step,
        "timeline": tuple(vars(step) for step in planned.timeline),
        "parameters": planned.parameters,
        "parameters_stored": (
            planned.parameters if stored_parameters is None else stored_parameters
        ),
        "macs": planned.macs,
        "widths": dict(widths),
        "bottleneck": bottleneck.units if bottleneck else (),
        "bottleneck_channels": bottleneck.channels if bottleneck else None,
        "units_at_floor": sum(width <= min_width for width in widths.values()),
    }


def _cost_fields(cost: Cost) -> dict[str, Any]:
    """Return a cost as fields of the Record."""
    fields = cost.to_fields()
    losses = fields.pop("losses")
    return fields | {
        "training_losses": {phase: thin_losses(values) for phase, values in losses.items()}
    }


def _infeasible_record(
    context: _JobContext, cell: Cell, budget: Budget, error: Infeasible
) -> Record:
    """Return the record of a cell for which no network fits; its reason names the least peak."""
    least_bytes = error.least_bytes
    if least_bytes is None:
        model = peak_model(context.model, budget.input_shape, budget.convention)
        least_bytes = model.least_bytes(cell.recipe.min_width)
    least = format_mib(least_bytes)
    reason = str(error)
    if least not in reason:
        reason = f"{reason}; the least peak that is possible is {least}"
    return Record(
        cell,
        "infeasible",
        one_line(reason),
        budget_bytes=budget.peak_bytes,
        environment=describe_environment(context.device) | {"least_bytes": least_bytes},
    )


@lru_cache(maxsize=8)
def _input_means(task: Task, data: str, fingerprint: str) -> dict[str, float]:
    """Return the mean scores without a network; `fingerprint` is only a key of the cache."""
    return means(input_scores(task, data))

"""One job: a network, a method, some budgets; a record for each cell.

    for each budget, pruned of method.sweep(copy of model, budgets, trainer):   bench.runner.sweep
        rebuild the network from what is stored of it; peak <= budget           the referee
        choose tiles and precision, if the row has them          bench.runner.run_form
        finish as the method asks
        save; load; time and evaluate what was loaded, as the row runs it; Record

The referee measures; the method never reports its own score. An error in a method becomes a row
(status `failed` or `infeasible`) and the other cells continue. A disk that accepts no more data is
no fault of the method: it stops the run.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from bench.contract import Budget, Pruned, Task, TraceStep
from bench.errors import DiskError, Infeasible, PluginError, one_line
from bench.export import saved
from bench.files.schema import MAX_FLOAT
from bench.plugins.global_state import preserve_global_state
from bench.records import Cell, Record
from bench.runner.environment import describe_environment
from bench.runner.failures import failed_record
from bench.runner.finish import finish
from bench.runner.image_time import time_image
from bench.runner.job_context import JobContext, prepare_job
from bench.runner.plain_network import check_stored, measure_pruned_network
from bench.runner.progress import Progress
from bench.runner.run_form import choose_form
from bench.runner.sweep import Outcome, sweep
from bench.study.store import Store
from bench.study.study import Job
from bench.surgery.analysis import analyse_network
from bench.training.curves import Curve, thin_losses
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.meter import Cost
from bench.training.sample_crops import crop_writer
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
    left = list(job.cells)
    try:
        with preserve_global_state():
            torch.set_num_threads(job.cells[0].recipe.threads)
            context = prepare_job(job, store, device, progress, time_limit_seconds)
            for record in _run_cells(context):
                left.remove(record.cell)
                yield record
    except DiskError:
        raise
    except (Exception, SystemExit) as error:
        # The network cannot be trained, or the user's own network cannot be built.
        yield from (failed_record(cell, error) for cell in left)


def _run_cells(context: JobContext) -> Iterator[Record]:
    """Run the sweep, then finish and test its networks; yield a record for each cell."""
    trainer = context.make_trainer("method")
    pruned = []
    for outcome in sweep(context, trainer):
        if isinstance(outcome.answer, Pruned):
            pruned.append(outcome)
        else:
            yield from _records(context, outcome)
        del outcome  # an error keeps all networks alive that its traceback can reach
    for outcome in pruned:
        yield from _records(context, outcome)


def _records(context: JobContext, outcome: Outcome) -> Iterator[Record]:
    for cell in context.cells[outcome.budget]:
        context.progress.on_cell(cell)
        yield _make_record(context, cell, outcome)


def _make_record(context: JobContext, cell: Cell, outcome: Outcome) -> Record:
    budget, answer = context.find_budget(cell), outcome.answer
    try:
        if isinstance(answer, BaseException):
            raise answer
        if not isinstance(answer, Pruned):
            raise PluginError(f"{cell.method} gave back a {type(answer).__name__}, not a Pruned")
        with context.deadline.enforce(cell):
            return _check_readable(_finish_and_evaluate(context, cell, outcome, answer))
    except Infeasible as infeasible:
        return _check_readable(_infeasible_record(context, cell, budget, infeasible))
    except (DiskError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a method may call sys.exit
        return failed_record(cell, error, budget, "search")


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
    context: JobContext, cell: Cell, outcome: Outcome, pruned: Pruned
) -> Record:
    """Check, finish, save and load, and evaluate a network, and return its record."""
    context.progress.on_work(f"'{cell.label}', ratio {cell.ratio:g}, seed {cell.seed}")
    enter_phase = context.phases.enter_phase
    finisher = context.make_trainer("finish", outcome.spent.tuning_steps)
    with enter_phase("check"):
        model, fields = measure_pruned_network(
            pruned,
            context.model,
            outcome.budget,
            context.probes,
            method=cell.method,
            min_width=cell.recipe.min_width,
        )
        form = choose_form(model, cell, context.find_budget(cell))
        kept = {unit: [int(index) for index in indices] for unit, indices in pruned.kept.items()}
    with enter_phase("evaluate"), finisher.branch():
        calibration_loss = finisher.loss(model)
    curve: Curve = []
    note = finish(finisher, replace(pruned, model=model), curve)
    with enter_phase("save"):
        folder = context.store.model_folder(cell.key)
        origin = cell.network_origin | {"kept": kept, "inserted": pruned.inserted}
        saved.save(folder, model, **origin, is_rebuilt=True)
        stored = saved.load(folder)
        check_stored(model, stored, fields, cell.measured_at, context.probes)
    with enter_phase("measure"):
        fields |= form.measure_memory(stored)
        fields |= time_image(form, stored, fields["macs"], context)
    with enter_phase("evaluate"), finisher.meter.enter_phase("evaluate"):
        write_crops = crop_writer(context.task, *context.store.crop_folders(cell))
        restorer = form.apply(stored)
        scores = evaluate(context.task, restorer, cell.data, context.device, on_image=write_crops)
        _check_numbers(means(scores))
    has_loss = abs(calibration_loss) <= MAX_FLOAT  # before its finish it may be any number
    return Record(
        cell=cell,
        status="done",
        findings=outcome.findings.sentences(),
        unbooked=dict(outcome.findings.unbooked),
        scores=scores,
        means=means(scores),
        input_means=_input_means(context.task, cell.data, cell.data_fingerprint),
        calibration_loss=calibration_loss if has_loss else None,
        kept=kept,
        inserted=tuple(pruned.inserted),
        trace=tuple(map(_describe_step, pruned.trace)),
        environment=describe_environment(context.device) | {"note": note, "finish": pruned.finish},
        calibration_psnr=tuple(curve),
        **(fields | {"budget_bytes": context.find_budget(cell).peak_bytes}),
        **_cost_fields(outcome.spent + finisher.meter.cost()),
    )


def _describe_step(step: TraceStep) -> dict[str, Any]:
    return {"peak_bytes": step.peak_bytes, "widths": dict(step.widths), "note": step.note}


def _check_numbers(scores: Mapping[str, float]) -> None:
    """Raise PluginError if a score is not a number."""
    wrong = [f"{name} {value}" for name, value in scores.items() if math.isnan(value)]
    if wrong:
        raise PluginError(f"the scores of the network are not numbers: {', '.join(wrong)}")


def _cost_fields(cost: Cost) -> dict[str, Any]:
    """Return a cost as fields of the Record."""
    fields = cost.to_fields()
    losses = fields.pop("losses")
    return fields | {
        "training_losses": {phase: thin_losses(values) for phase, values in losses.items()}
    }


def _infeasible_record(
    context: JobContext, cell: Cell, budget: Budget, error: Infeasible
) -> Record:
    """Return the record of a cell for which no network fits; its reason names the least peak."""
    least_bytes = error.least_bytes
    if least_bytes is None and not cell.run_options:
        peaks = analyse_network(context.model, budget).peak_model
        least_bytes = peaks.least_bytes(cell.recipe.min_width)
    reason = str(error)
    if least_bytes is not None and (least := format_mib(least_bytes)) not in reason:
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

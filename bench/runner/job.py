"""One job: a network, a method, some budgets; a record for each.

    for each budget, pruned of method.sweep(copy of model, budgets, trainer):
        referee: peak <= budget, a plain network, the same output shape
        finish as the method asked; evaluate; Record

The referee measures, the method never reports its own score. What goes wrong in a method is a row
(`failed`, `infeasible`) and the others go on; a sweep that breaks is started again for the budgets
that it still owed. A disk that keeps nothing more is no fault of the method: it stops the run. What
the method spent is read from its meter as it hands over a network, so it is the cost of that budget
alone.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from bench.contract import Budget, Kept, Method, Pruned, Task, largest_first
from bench.errors import DiskError, Infeasible, PluginError, one_line
from bench.export import saved
from bench.files.schema import LARGEST_FLOAT
from bench.memory.peak_model import peak_model
from bench.memory.profile import peak_memory
from bench.plugins.backbones import initialise
from bench.plugins.options import cell_task, configured
from bench.plugins.registry import METHODS
from bench.records import Cell, Record
from bench.runner.environment import surroundings
from bench.runner.failures import Phases, failed
from bench.runner.progress import Progress
from bench.runner.referee import referee
from bench.runner.time_limit import Allowance
from bench.study.store import Store
from bench.study.study import Job
from bench.training.evaluation import evaluate, input_scores, means
from bench.training.pretrained import PACKAGED, pretrained
from bench.training.sample_crops import keeping
from bench.training.trainer import TaskTrainer, derived_seed
from bench.units import format_mib


def run_job(
    job: Job,
    store: Store,
    device: str = "cpu",
    progress: Progress | None = None,
    time_limit_seconds: float | None = None,
) -> Iterator[Record]:
    """The records of one job, largest budget first.

    Writes networks to the store, but no records.
    """
    progress = progress or Progress()
    torch.set_num_threads(job.cells[0].recipe.threads)
    left = list(job.cells)
    try:
        for record in _records(_prepare(job, store, device, progress, time_limit_seconds)):
            left.remove(record.cell)
            yield record
    except DiskError:
        raise
    except Exception as error:  # of a network that cannot be trained, or of the user's own that cannot be built: a row for each cell
        yield from (failed(cell, error) for cell in left)


@dataclass(frozen=True)
class _Contest:
    """What the cells of a job share."""

    task: Task
    method: Method
    model: nn.Module
    cells: dict[Budget, list[Cell]]
    store: Store
    device: str
    progress: Progress
    phases: Phases
    time: Allowance

    @property
    def first(self) -> Cell:
        return next(iter(self.cells.values()))[0]

    def trainer(self, stream: str) -> TaskTrainer:
        """A trainer with its own random streams and meter."""
        cell = self.first
        new_weights = initialise if cell.backbone_source else None
        where = (
            self.device,
            self.progress.step,
            stream,
            new_weights,
            self.store.checkpoints(cell),
            self.phases.during,
        )
        return TaskTrainer(self.task, cell.data, cell.trained_by, cell.seed, *where)


def _prepare(
    job: Job, store: Store, device: str, progress: Progress, time_limit_seconds: float | None
) -> _Contest:
    cell, phases = job.cells[0], Phases(progress)
    task = cell_task(cell)
    method = configured(METHODS.get(cell.method), cell.method_options, f"method {cell.method}")
    with phases.during("pretrain"):
        model = pretrained(
            task,
            cell,
            (store.pretrained_folder, PACKAGED),
            device,
            progress.step,
            store.checkpoint_seconds,
        )
    peak_bytes = peak_memory(model, cell.measured_at, cell.convention)
    cells: dict[Budget, list[Cell]] = {}
    for each in job.cells:
        cells.setdefault(
            Budget(int(each.ratio * peak_bytes), cell.measured_at, cell.convention), []
        ).append(each)
    return _Contest(
        task,
        method,
        model,
        cells,
        store,
        device,
        progress,
        phases,
        Allowance(time_limit_seconds, progress),
    )


def _records(contest: _Contest) -> Iterator[Record]:
    trainer = contest.trainer("method")
    for budget, outcome in _outcomes(contest, trainer):
        for cell in contest.cells[budget]:
            yield _answer(contest, trainer, cell, budget, outcome)
        del outcome  # an error holds on to all networks that its traceback can see


def _outcomes(contest: _Contest, trainer: TaskTrainer) -> Iterator[tuple[Budget, Any]]:
    """For every budget what the method gave back, or the exception that it ended in."""
    waiting, cell = largest_first(list(contest.cells)), contest.first
    while waiting:
        root = trainer.prepare(deepcopy(contest.model))
        torch.manual_seed(derived_seed(cell.seed, "torch"))
        with trainer.branch(), trainer.count_calls(root):
            items = iter(contest.method.sweep(root, list(waiting), trainer))
            while waiting:
                contest.progress.working(f"{cell.label}, seed {cell.seed}")
                try:
                    first = contest.cells[waiting[0]][0]
                    with (
                        contest.time.running(first),
                        contest.phases.during("search"),
                        trainer.meter.during("search"),
                    ):
                        budget, outcome = next(
                            items,
                            (
                                waiting[0],
                                PluginError(f"the sweep of {cell.method} left out this budget"),
                            ),
                        )
                    if budget not in waiting:
                        raise PluginError(
                            f"the sweep of {cell.method} answered a budget that was not asked, or one twice: {budget}"
                        )
                except DiskError:
                    raise
                except Exception as error:
                    yield waiting.pop(0), error
                    break
                waiting.remove(budget)
                drawn = torch.get_rng_state()
                yield budget, outcome
                torch.set_rng_state(
                    drawn
                )  # what the harness drew meanwhile must not touch the method
            getattr(items, "close", lambda: None)()


def _answer(
    contest: _Contest, trainer: TaskTrainer, cell: Cell, budget: Budget, outcome: Any
) -> Record:
    try:
        if isinstance(outcome, Infeasible):
            return _readable(_infeasible(contest, cell, budget, outcome))
        if isinstance(outcome, Exception):
            raise outcome
        if not isinstance(outcome, Pruned):
            raise PluginError(f"{cell.method} gave back a {type(outcome).__name__}, not a Pruned")
        with contest.time.running(cell):
            return _readable(_done(contest, trainer, cell, budget, outcome))
    except DiskError:
        raise
    except Exception as error:
        return failed(cell, error, budget, "search")
    finally:
        contest.time.renew()


def _readable(record: Record) -> Record:
    """The record.

    Raises PluginError for one that could not be read again, so that its cell would be run for ever.
    """
    try:
        Record.from_json(json.loads(json.dumps(record.to_json())))
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"its record cannot be kept: {error}; give plain, finite numbers and texts"
        ) from error
    return record


def _done(
    contest: _Contest, trainer: TaskTrainer, cell: Cell, budget: Budget, pruned: Pruned
) -> Record:
    """Referee, finish, evaluate, keep."""
    spent = trainer.meter.spent()
    contest.progress.working(f"{cell.label}, ratio {cell.ratio:g}, seed {cell.seed}")
    model = deepcopy(
        pruned.model
    ).cpu()  # what is trained here must not reach into the method's own networks
    trainer.uncount(model)
    during, finisher = contest.phases.during, contest.trainer("finish")
    with during("check"):
        measured = figures(model, contest.model, budget, pruned, cell.method, cell.recipe.min_width)
        kept = {unit: [int(index) for index in indices] for unit, indices in pruned.kept.items()}
    with during("evaluate"), finisher.branch():
        calibration_loss = finisher.loss(model)
    note = finish(finisher, model, pruned, spent.steps)
    with during("evaluate"), finisher.meter.during("evaluate"):
        scores = evaluate(
            contest.task,
            model,
            cell.data,
            contest.device,
            keeping(contest.task, *contest.store.patch_folders(cell)),
        )
        _check_numbers(means(scores))
    with during("save"):
        _save(contest, cell, model, kept, pruned.inserted)
    return Record(
        cell=cell,
        status="done",
        scores=scores,
        means=means(scores),
        input_means=_input_means(contest.task, cell.data, cell.data_fingerprint),
        calibration_loss=calibration_loss
        if abs(calibration_loss) <= LARGEST_FLOAT
        else None,  # before it is finished it may be anything
        kept=kept,
        inserted=tuple(pruned.inserted),
        trace=tuple(
            {"peak_bytes": step.peak_bytes, "widths": dict(step.widths), "note": step.note}
            for step in pruned.trace
        ),
        environment=surroundings(contest.device) | {"note": note, "finish": pruned.finish},
        **measured,
        **(spent + finisher.meter.spent()).figures(),
    )


def _check_numbers(scores: Mapping[str, float]) -> None:
    wrong = [f"{name} {value}" for name, value in scores.items() if math.isnan(value)]
    if wrong:
        raise PluginError(f"the network gives no numbers: its scores are {', '.join(wrong)}")


def _save(
    contest: _Contest, cell: Cell, model: nn.Module, kept: Kept, inserted: Sequence[str]
) -> None:
    place = {
        name: getattr(cell, name)
        for name in ("task", "task_options", "backbone", "backbone_options")
    }
    if cell.backbone_source:
        saved.check_kept(model, contest.model, kept, inserted, cell.measured_at[1])
    saved.save(contest.store.model_folder(cell.key), model, **place, kept=kept, inserted=inserted)


def figures(
    model: nn.Module,
    unpruned: nn.Module,
    budget: Budget,
    pruned: Pruned,
    method: str,
    min_width: int,
) -> dict[str, Any]:
    """The referee's figures, as fields of the Record. Raises PluginError.

    Args:
        model: a copy of the network that a method gave back. unpruned: what it was made from.
        budget, pruned: what was asked, and all that was given back.
        method: named in messages.
        min_width: at which a unit counts as being at the floor.
    """
    planned, eager = referee(model, unpruned, budget, method)
    widths = peak_model(model, budget.input_shape, budget.convention).widths
    return {
        "budget_bytes": budget.peak_bytes,
        "peak_bytes": planned.peak_bytes,
        "peak_bytes_eager": eager.peak_bytes,
        "peak_step": planned.peak_step,
        "timeline": tuple(vars(step) for step in planned.timeline),
        "parameters": planned.parameters,
        "parameters_stored": planned.parameters
        if pruned.stored_parameters is None
        else pruned.stored_parameters,
        "macs": planned.macs,
        "widths": dict(widths),
        "units_at_floor": sum(width <= min_width for width in widths.values()),
    }


def finish(trainer: TaskTrainer, model: nn.Module, pruned: Pruned, spent: Counter[str]) -> str:
    """Trains as the method asked and the trainer's recipe allows; returns a note, or nothing.

    Args:
        trainer: of the finish.
        model: trained in place.
        pruned: what the method gave back.
        spent: its steps by phase; they count where the recipe has matched steps. Pretraining is
            free: every network has had it.
    """
    if pruned.finish == "none":
        return ""
    if pruned.finish == "scratch":
        trainer.reinitialise(model)
        trainer.fit(model, trainer.recipe.pretrain_steps, phase="pretrain")
    steps, matched = trainer.recipe.tuning_steps, trainer.recipe.matched_steps
    if matched:
        steps -= sum(count for phase, count in spent.items() if phase != "pretrain")
    trainer.fit(model, max(0, steps), phase="finetune")
    return (
        f"the method alone took {-steps} steps more than the {matched} that every row gets"
        if steps < 0
        else ""
    )


def _infeasible(contest: _Contest, cell: Cell, budget: Budget, impossible: Infeasible) -> Record:
    least_bytes = impossible.least_bytes
    if least_bytes is None:
        least_bytes = peak_model(contest.model, budget.input_shape, budget.convention).least_bytes(
            cell.recipe.min_width
        )
    least = format_mib(least_bytes)
    reason = (
        str(impossible)
        if least in str(impossible)
        else f"{impossible}; the least peak that is possible is {least}"
    )
    environment = surroundings(contest.device) | {"least_bytes": least_bytes}
    return Record(
        cell,
        "infeasible",
        one_line(reason),
        budget_bytes=budget.peak_bytes,
        environment=environment,
    )


@lru_cache(maxsize=8)
def _input_means(task: Task, data: str, fingerprint: str) -> dict[str, float]:
    return means(input_scores(task, data))

"""The part of a job in which the method works: one sweep over the budgets that have no answer yet.

All results are collected before the harness trains or tests one, so the test photographs are read
when the method has ended. A sweep that raises is started again for the other budgets. The method's
cost is read from its meter when it yields a network, so it is the cost of that budget alone.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch

from bench.contract import Budget, Pruned, Task, largest_first
from bench.errors import DiskError, PluginError
from bench.plugins.registry import TASKS
from bench.runner.job_context import JobContext
from bench.runner.method_call import (
    Findings,
    WatchedCall,
    call_method,
    detach_result,
    number_channels,
)
from bench.training.meter import Cost
from bench.training.seeds import derive_seed
from bench.training.trainer import TaskTrainer

READERS = ("test_sets", "photographs", "all_photographs")  # methods of tasks


@dataclass(frozen=True)
class Outcome:
    """What a method gave back for a budget.

    Args:
        budget: the budget.
        answer: a Pruned, detached from the method; an Infeasible; or the error that it raised.
        spent: the cost of the result, by the meter.
        findings: what the method did that its row must name.
    """

    budget: Budget
    answer: Any
    spent: Cost = field(default_factory=Cost)
    findings: Findings = field(default_factory=Findings)


def sweep(context: JobContext, trainer: TaskTrainer) -> Iterator[Outcome]:
    """Yield the outcome of every budget, largest first."""
    waiting = largest_first(list(context.cells))
    cell = context.first_cell
    passes = context.method.scoring_passes(cell.effective_recipe)
    torch_seed = derive_seed(cell.seed, "torch")
    _ = trainer.crops, trainer.calibration  # a task may split its photographs when they are read
    while waiting:
        with (
            _without_test_photographs(context.task),
            call_method(context.model, trainer, torch_seed, passes) as call,
        ):
            # Copies: a method can change a budget, frozen or not.
            budgets = list(map(copy, waiting))
            items = iter(context.method.sweep(call.network, budgets, call.given_trainer))
            while waiting:
                context.progress.on_work(f"'{cell.label}', seed {cell.seed}")
                context.progress.on_cell(context.cells[waiting[0]][0])
                try:
                    outcome = _next_outcome(context, call, items, waiting)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # a method may call sys.exit
                    if isinstance(error, DiskError) and _is_of_harness(error):
                        raise
                    yield Outcome(waiting.pop(0), _as_fault(error))
                    break
                waiting.remove(outcome.budget)
                rng_state = torch.get_rng_state()
                yield outcome
                # What the harness draws in between must not change what the method draws.
                torch.set_rng_state(rng_state)
            getattr(items, "close", lambda: None)()


def _is_of_harness(error: BaseException) -> bool:
    """Return whether code of the harness, not of a method, raised an error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("bench.")


def _as_fault(error: BaseException) -> BaseException:
    """Return an error as one of the method: its own full disk stops no other row."""
    return PluginError(f"DiskError: {error}") if isinstance(error, DiskError) else error


def _next_outcome(
    context: JobContext,
    call: WatchedCall,
    items: Iterator[tuple[Budget, Any]],
    waiting: Sequence[Budget],
) -> Outcome:
    """Return the next item of a sweep. Raises PluginError if its budget is not waiting."""
    method = context.first_cell.method
    missing = PluginError(f"the sweep of {method} left out this budget")
    with (
        context.deadline.enforce(context.cells[waiting[0]][0]),
        context.phases.enter_phase("search"),
        call.trainer.meter.enter_phase("search"),
    ):
        context.search.aim(waiting[0])
        budget, answer = next(items, (waiting[0], missing))
        if isinstance(answer, Pruned):
            try:
                answer = detach_result(answer, call.trainer)
                answer = number_channels(answer, context.model, budget)
            except Exception as error:  # of this budget alone
                answer = error
    if budget not in waiting:
        raise PluginError(
            f"the sweep of {method} yielded a budget that it was not asked for, or one twice: "
            f"{budget}"
        )
    budget = waiting[waiting.index(budget)]  # ours: another class may call itself equal
    return Outcome(budget, answer, call.trainer.meter.cost(), call.find())


@contextmanager
def _without_test_photographs(task: Task) -> Iterator[None]:
    """Refuse the test photographs of a task inside the block, and those of all other tasks."""

    def refuse(*_: Any) -> Any:
        raise PluginError(
            f"a method asked task {task.name} for its test photographs, which are read when it has "
            "ended; use trainer.calibration and trainer.batches"
        )

    # With their base classes: tasks share photographs, and the functions that read them.
    classes = {
        cls for known in (type(task), *dict(TASKS.items()).values()) for cls in known.__mro__
    }
    own = [(cls, name, vars(cls)[name]) for cls in classes for name in READERS if name in vars(cls)]
    for cls, name, _ in own:
        setattr(cls, name, refuse)
    try:
        yield
    finally:
        for cls, name, function in own:
            setattr(cls, name, function)

"""The calls of a method that its checks examine, each made once, as the harness makes them.

    sweep_call        one sweep over three budgets, handed over in a mixed order
    prune_call        prune(), for the middle one of these budgets
    repeated_call     the same once more
    resumed_call      the sweep over the three budgets, after prune() for the middle one was killed
                      in the middle of its training
    eager_call        prune(), for a budget of the other convention
    multiple_call     prune(), for a budget that asks for multiples of channels
    other_sweep_call  a sweep over the least of them, another one, and one that is not possible
    impossible_call   prune(), for the budget that is not possible

Every call gets a fresh copy of the small network and a new trainer, with torch's random numbers
seeded as in a run. What a call changes (in the network and the crops, in the global state, at the
guarded task, at the trainer), what it trains by itself and which files it reads is noted; the
global state is put back.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from bench.contract import Budget, Kept, Method, Pruned
from bench.memory.profile import peak_memory
from bench.plugins.global_state import preserve_global_state
from bench.plugins.options import configure, option_values
from bench.runner.finish import finish
from bench.runner.method_call import Findings, call_method, detach_result, number_channels
from bench.runner.plain_network import make_probes
from bench.runner.referee import HOOKS
from bench.surgery.compactors import insert_compactors
from bench.surgery.remove import remove_channels
from bench.testing.check_runner import CheckSkipped, Finding
from bench.testing.fixtures import RECIPE, SHAPE, small_budgets, small_network
from bench.testing.spies import (
    CHECKPOINT_PREFIX,
    CountingTrainer,
    GuardedTask,
    KillableTrainer,
    Killed,
    WatchedTrainer,
    watch_outside,
)
from bench.training.checkpoints import NO_CHECKPOINTS, Checkpoints
from bench.training.meter import Cost
from bench.training.trainer import TaskTrainer

RATIOS = (0.7, 0.9, 0.6)
OTHER_RATIO = 0.8
MIDDLE, LEAST = 0, 2  # indices of RATIOS
MULTIPLE = 4  # of channels
MAX_OUTCOMES = 10  # of a sweep that does not end
SEED = 0
DATA = "embedded"
# A budget and a Pruned or Infeasible, if the method keeps the contract.
Outcome = tuple[Any, Any]
Call = Callable[[nn.Module, Any], Iterator[Outcome]]  # of (network, trainer)


@dataclass(frozen=True)
class MethodCall:
    """One call of a method: its outcomes in order, the cost of each, and its exception, if any."""

    outcomes: tuple[Outcome, ...]
    costs: tuple[Cost, ...]
    error: Exception | None = None

    def pruned_networks(self) -> dict[Budget, Pruned]:
        """Return the networks that came back, by budget."""
        return {budget: outcome for budget, outcome in self.outcomes if isinstance(outcome, Pruned)}


class MethodEvidence:
    """A method, the calls of it that have been made, and what these calls have changed.

    Args:
        cls: the method.
        options: its options, as in a study.
    """

    def __init__(self, cls: type[Method], options: Mapping[str, Any]) -> None:
        self.cls = cls
        self.options = dict(options)
        self.findings: dict[str, Finding] = {}
        self.network = small_network()
        self.task = GuardedTask()
        self.changed_inputs: list[str] = []  # changes in the arguments of a call
        self.changed_state: list[str] = []  # changes in the global state of the process
        self.unbooked_work: list[str] = []  # training that the trainer does not know of
        self.work_outside: list[str] = []  # files that are no code, processes, ...
        self.unknown_attributes: list[str] = []  # of the trainer, not named by the contract
        self._compacted_network = cache(self._make_compacted_network)

    @property
    def name(self) -> str:
        """The name of the method, for messages."""
        return str(getattr(self.cls, "name", self.cls.__name__))

    @cached_property
    def method(self) -> Method:
        """The method with its options. Raises ConfigError."""
        return configure(self.cls, self.options, f"method {self.name}")

    @cached_property
    def options_before(self) -> dict[str, Any]:
        """The options as they were before any call."""
        return option_values(self.method)

    @cached_property
    def budgets(self) -> list[Budget]:
        """The budgets of `sweep_call`, in the order in which they are handed over."""
        return small_budgets(self.network, *RATIOS)

    @cached_property
    def other_budgets(self) -> list[Budget]:
        """The budgets of `other_sweep_call`."""
        return [self.budgets[LEAST], self.impossible, *small_budgets(self.network, OTHER_RATIO)]

    @cached_property
    def impossible(self) -> Budget:
        """A budget below the input of the network."""
        return replace(self.budgets[LEAST], peak_bytes=1)

    @cached_property
    def eager_budget(self) -> Budget:
        """A budget of the convention "eager", whose peak is a third larger."""
        peak_bytes = peak_memory(self.network, SHAPE, "eager")
        return Budget(int(RATIOS[MIDDLE] * peak_bytes), SHAPE, "eager")

    @cached_property
    def multiple_budget(self) -> Budget:
        """A budget that asks for multiples of channels."""
        return replace(self.budgets[MIDDLE], channel_multiple=MULTIPLE)

    @cached_property
    def sweep_call(self) -> MethodCall:
        """One sweep over the three budgets."""
        return self._run(self._sweep(self.budgets), self._make_trainer(), is_sweep=True)

    @cached_property
    def prune_call(self) -> MethodCall:
        """prune() for the middle budget."""
        return self._run(self._prune(self.budgets[MIDDLE]), self._make_trainer())

    @cached_property
    def repeated_call(self) -> MethodCall:
        """prune() for the middle budget once more."""
        return self._run(self._prune(self.budgets[MIDDLE]), self._make_trainer())

    @cached_property
    def resumed_call(self) -> MethodCall:
        """The sweep, from the checkpoints that a killed prune() has left.

        It was killed after half of its training batches.
        """
        prune_middle = self._prune(self.budgets[MIDDLE])
        counting = KillableTrainer(self.task, DATA, RECIPE, SEED)
        self._run(prune_middle, counting)
        with TemporaryDirectory(prefix=CHECKPOINT_PREFIX) as folder:
            checkpoints = Checkpoints(Path(folder), every_seconds=0)
            dying = KillableTrainer(
                self.task,
                DATA,
                RECIPE,
                SEED,
                checkpoints=checkpoints,
                kill_after=counting.batch_count // 2,
            )
            with suppress(Killed):
                self._run(prune_middle, dying)
            trainer = self._make_trainer(replace(checkpoints))  # as another process finds them
            return self._run(self._sweep(self.budgets), trainer, is_sweep=True)

    @cached_property
    def other_sweep_call(self) -> MethodCall:
        """A sweep over other budgets, one of which is not possible."""
        return self._run(self._sweep(self.other_budgets), self._make_trainer(), is_sweep=True)

    @cached_property
    def impossible_call(self) -> MethodCall:
        """prune() for the impossible budget."""
        return self._run(self._prune(self.impossible), self._make_trainer())

    @cached_property
    def eager_call(self) -> MethodCall:
        """prune() for a budget of the other convention."""
        return self._run(self._prune(self.eager_budget), self._make_trainer())

    @cached_property
    def multiple_call(self) -> MethodCall:
        """prune() for a budget that asks for multiples of channels."""
        return self._run(self._prune(self.multiple_budget), self._make_trainer())

    @cached_property
    def probes(self) -> list[Tensor]:
        """Inputs on which networks are compared."""
        degraded, _ = self.task.calibration_pairs(DATA).sample(1, 16, Generator().manual_seed(2))
        return make_probes(self.task, degraded)

    @property
    def networks(self) -> dict[Budget, Pruned]:
        """The networks of the sweep. Raises CheckSkipped if there are none."""
        if not self.sweep_call.pruned_networks():
            raise CheckSkipped("the sweep gave no network to look at")
        return self.sweep_call.pruned_networks()

    def insert_compactors(self, pruned: Pruned) -> nn.Module:
        """Return the unpruned network with the compactors of a pruned one."""
        return self._compacted_network(tuple(pruned.inserted))

    def rebuild(self, pruned: Pruned) -> nn.Module:
        """Return the network that `inserted` and `kept` describe, as a saved one is rebuilt.

        Its weights are those of the unpruned network.
        """
        kept: Kept = {
            unit: [int(index) for index in indices] for unit, indices in pruned.kept.items()
        }
        return remove_channels(self.insert_compactors(pruned), kept, SHAPE)

    def _make_compacted_network(self, inserted: tuple[str, ...]) -> nn.Module:
        return insert_compactors(self.network, inserted, SHAPE) if inserted else self.network

    def finish_cost(self, pruned: Pruned, spent: Cost) -> Cost:
        """Return what the harness will spend to finish a network, without training it."""
        trainer = CountingTrainer(self.task, DATA, RECIPE, SEED, tuned=spent.tuning_steps)
        finish(trainer, replace(pruned, model=deepcopy(pruned.model)))
        return trainer.meter.cost()

    def _make_trainer(self, checkpoints: Checkpoints = NO_CHECKPOINTS) -> TaskTrainer:
        return TaskTrainer(self.task, DATA, RECIPE, SEED, checkpoints=checkpoints)

    def _sweep(self, budgets: list[Budget]) -> Call:
        return lambda model, trainer: self.method.sweep(model, list(map(copy, budgets)), trainer)

    def _prune(self, budget: Budget) -> Call:
        def call(model: nn.Module, trainer: Any) -> Iterator[Outcome]:
            yield budget, self.method.prune(model, copy(budget), trainer)

        return call

    def _run(self, call: Call, trainer: TaskTrainer, is_sweep: bool = False) -> MethodCall:
        """Make a call, and note what it changes.

        Work is booked in sweeps, as in a study: `prune` may end a branch before it returns.
        """
        _ = self.options_before  # stores the options before the first call
        passes = self.method.scoring_passes(RECIPE)
        before = _input_traits(trainer.prepare(deepcopy(self.network)), trainer)
        outcomes: list[Outcome] = []
        costs: list[Cost] = []
        error = None
        watched = WatchedTrainer(trainer, self.unknown_attributes)
        with preserve_global_state():
            torch.set_num_threads(RECIPE.threads)  # as in a run
            random.seed()  # in a run too, no two calls draw the same
            np.random.seed()
            with (
                watch_outside(self.work_outside),
                call_method(self.network, trainer, SEED, passes) as watch,
            ):
                try:
                    for budget, outcome in islice(call(watch.network, watched), MAX_OUTCOMES):
                        if isinstance(outcome, Pruned) and isinstance(outcome.model, nn.Module):
                            outcome = detach_result(outcome, trainer)
                            outcome = number_channels(outcome, self.network, budget)
                        outcomes.append((budget, outcome))
                        costs.append(trainer.meter.cost())
                        self._note(watch.find(), is_sweep)
                except Exception as raised:
                    error = raised
                self.changed_state += watch.find_changes()
        after = _input_traits(watch.network, trainer)
        self.changed_inputs += [name for name in after if after[name] != before[name]]
        return MethodCall(tuple(outcomes), tuple(costs), error)

    def _note(self, findings: Findings, is_sweep: bool) -> None:
        self.changed_state += findings.state_changes
        work = replace(findings, state_changes=(), scores=0)  # scores are declared
        self.unbooked_work += work.sentences() if is_sweep else ()


def have_same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two networks have the same names, shapes and values."""
    left = first.state_dict()
    right = second.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


def _input_traits(model: nn.Module, trainer: TaskTrainer) -> dict[str, Any]:
    """Return all that a method must not change in its arguments, in a form to compare."""
    modules = dict(model.named_modules())
    return {
        "the weights or buffers of the network": {
            name: _to_bytes(tensor) for name, tensor in model.state_dict().items()
        },
        "requires_grad of its weights": {
            name: weight.requires_grad for name, weight in model.named_parameters()
        },
        "its training mode": {name: module.training for name, module in modules.items()},
        "its layers": {name: repr(module) for name, module in modules.items()},
        "its hooks": {
            name: [list(getattr(module, kind)) for kind in HOOKS]
            for name, module in modules.items()
        },
        "the calibration crops": [
            _to_bytes(crops) for pair in trainer.calibration for crops in pair
        ],
    }


def _to_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().numpy().tobytes()

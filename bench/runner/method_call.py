"""One call of a method, the same for a study, for `bench.api` and for the checks of a method.

    with call_method(model, trainer, torch_seed, declared_passes) as call:
        pruned = method.prune(call.network, budget, trainer)
        findings = call.find()
    pruned = detach_result(pruned, trainer)

A method gets a copy of the network; what it gives back is copied before the harness uses it. While
it works, the harness watches what it does with networks and with the global state of the process.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Budget, Pruned
from bench.errors import PluginError
from bench.plugins.global_state import GlobalState, preserve_global_state
from bench.surgery.analysis import analyse_network
from bench.surgery.compactors import insert_compactors
from bench.training.contract_trainer import ContractTrainer
from bench.training.observer import BACKWARD_PASSES, OPTIMIZER_STEPS
from bench.training.trainer import TaskTrainer


@dataclass(frozen=True)
class Findings:
    """What a method did, up to a result, that its row must name.

    Args:
        unbooked: kind -> amount of work beyond what is booked ("optimizer steps": 300).
        booked_steps: training steps that are booked.
        state_changes: what is different in the global state ("the grad mode from True to False").
        scores: backward passes that it declares as scores, if they are more than usual; else 0.
    """

    unbooked: Mapping[str, int] = field(default_factory=dict)
    booked_steps: int = 0
    state_changes: tuple[str, ...] = ()
    scores: int = 0

    def sentences(self) -> tuple[str, ...]:
        """Return each finding in words."""
        work = tuple(
            f"{amount} {kind} beyond its booked {self.booked_steps}"
            + (" steps" if kind != OPTIMIZER_STEPS else "")
            for kind, amount in self.unbooked.items()
        )
        if self.scores and BACKWARD_PASSES not in self.unbooked:
            work += (f"{self.scores} {BACKWARD_PASSES} outside its training, declared as scores",)
        return work + tuple(f"it changed {change}" for change in self.state_changes)


@dataclass(frozen=True)
class WatchedCall:
    """A call of a method that is under way.

    Args:
        network: the copy that the method gets.
        trainer: the trainer that does its work.
        declared_passes: backward passes outside `fit` that it declares for one result.
        state: the global state before the call.
        rules: what it must not change of its row, with the values before the call.
    """

    network: nn.Module
    trainer: TaskTrainer
    declared_passes: int
    state: GlobalState
    rules: Sequence["Rule"] = ()

    @property
    def given_trainer(self) -> Any:
        """The trainer as the method gets it: what the contract names, and nothing else."""
        return ContractTrainer(self.trainer)

    def find(self) -> Findings:
        """Return what the method did up to this result. Call it once for each result."""
        spent = self.trainer.meter.cost()
        return Findings(
            self.trainer.observer.hand_over(spent, self.declared_passes),
            sum(spent.steps.values()),
            tuple(self.find_changes()),
            self._count_scores(),
        )

    def find_changes(self) -> list[str]:
        """Return what the method has changed in the process and in the rules of its row."""
        changed_rules = [rule.name for rule in self.rules if rule.is_changed]
        return self.state.find_changes() + changed_rules

    def _count_scores(self) -> int:
        """Return the backward passes outside `fit`, if more than one for each calibration crop."""
        passes = self.trainer.observer.own_passes
        return passes if passes > self.trainer.recipe.calibration_crops else 0


class Rule:
    """An object that a method can reach and that decides about its row.

    Args:
        name: for messages.
        target: the object; it is frozen, which a method can get around.
    """

    def __init__(self, name: str, target: object) -> None:
        self.name = name
        self._target = target
        self._before = dict(vars(target))

    @property
    def is_changed(self) -> bool:
        """Whether an attribute has another value now."""
        return bool(self._find_changes())

    def put_back(self) -> None:
        """Give it the attributes that it had."""
        for name in self._find_changes():
            if name in self._before:
                vars(self._target)[name] = self._before[name]
            else:
                del vars(self._target)[name]

    def _find_changes(self) -> list[str]:
        """Return the attributes that are others now, or hide a function of the class."""
        now = vars(self._target)
        hidden = [name for name in now if callable(getattr(type(self._target), name, None))]
        names = dict.fromkeys((*self._before, *hidden))
        return [name for name in names if now.get(name) is not self._before.get(name)]


@contextmanager
def call_method(
    model: nn.Module, trainer: TaskTrainer, torch_seed: int, declared_passes: int = 0
) -> Iterator[WatchedCall]:
    """Yield a call, whose network is a copy on the trainer's device; watch what is done meanwhile.

    Inside the block torch's own random numbers are seeded. At its end the trainer's batches and
    meter and the global state are put back, so read the cost and the findings inside.
    """
    root = trainer.prepare(deepcopy(model))
    trainer.observer.unpruned = model
    rules = (Rule("the task", trainer.task), Rule("the recipe", trainer.recipe))
    with (
        trainer.branch(),
        trainer.count_calls(root),
        trainer.observer.watch(),
        preserve_global_state() as state,
    ):
        torch.manual_seed(torch_seed)
        try:
            yield WatchedCall(root, trainer, declared_passes, state, rules)
        finally:
            for rule in rules:
                rule.put_back()


def detach_result(pruned: Pruned, trainer: TaskTrainer) -> Pruned:
    """Return what a method gave back, with a copy of the network on the CPU.

    Later work of the method cannot reach the copy, nor does training the copy reach the method's
    own networks. The counter of calls is removed. Of what must be stored, the shapes are kept.

    Raises PluginError for a generator, which may have no end, where the contract has a sequence.
    """
    for name, value in (
        ("trace", pruned.trace),
        ("inserted", pruned.inserted),
        *pruned.kept.items(),
    ):
        if isinstance(value, Iterator):
            raise PluginError(f"'{name}' of the result is a {type(value).__name__}; give a tuple")
    model = deepcopy(pruned.model).cpu()
    trainer.remove_call_counter(model)
    stored = pruned.stored_parameters
    if not isinstance(stored, int):  # which is refused where it is counted
        stored = {name: tensor.to("meta") for name, tensor in stored_tensors(stored).items()}
    return replace(pruned, model=model, stored_parameters=stored)


def number_channels(pruned: Pruned, unpruned: nn.Module, budget: Budget) -> Pruned:
    """Return a result with channels in place of the blocks that a method took for channels.

    Args:
        pruned: a result under a budget that may ask for multiples of channels.
        unpruned: the network that it was made from.
        budget: that it was made for.

    Raises:
        PluginError: it keeps a block that does not exist.
    """
    if budget.channel_multiple == 1 or not pruned.kept:
        return pruned
    network = unpruned
    if pruned.inserted:
        network = insert_compactors(unpruned, pruned.inserted, budget.input_shape)
    blocks = analyse_network(network, budget).blocks
    for unit, indices in pruned.kept.items():
        if not set(indices) <= set(range(len(blocks.get(unit, ())))):
            raise PluginError(
                f"kept names blocks {list(indices)[:8]} of '{unit}', which has "
                f"{len(blocks.get(unit, ()))} of {budget.channel_multiple} channels; number them "
                "as `analyse_network` does"
            )
    kept = {
        unit: sorted(channel for index in indices for channel in blocks[unit][index])
        for unit, indices in pruned.kept.items()
    }
    trace = tuple(
        replace(
            step,
            widths={
                unit: width * len(blocks[unit][0]) if unit in blocks else width
                for unit, width in step.widths.items()
            },
        )
        for step in pruned.trace
    )
    return replace(pruned, kept=kept, trace=trace)


def stored_tensors(stored: nn.Module | Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return what must be stored beyond the network itself by name; {} if nothing.

    Raises PluginError for a number: only what is handed over can be counted.
    """
    if isinstance(stored, int):
        raise PluginError(
            f"stored_parameters is {stored}; hand over the network or the state dict that must be "
            "stored"
        )
    return dict(stored.named_parameters() if isinstance(stored, nn.Module) else stored or {})

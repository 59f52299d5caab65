"""What a method trains, seen by the harness and compared with what was booked.

The meter counts what passes through the trainer. The observer sees the whole process: every step of
a torch optimizer and every backward pass. A method that trains in a loop of its own, or takes a
training back with `branch()` and keeps its weights, has more steps than it has booked. Batches that
a callback of `fit` draws are beyond the one of the step, and pretraining is for new weights. What
bypasses torch's Python entry points (C++ code, another process) is not seen. Forward passes alone
train nothing: the meter counts those of the method's network and its copies.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench.torch_state import is_scoring
from bench.training.meter import PRETRAIN, Cost

OPTIMIZER_STEPS = "optimizer steps"
BACKWARD_PASSES = "backward passes"
SAMPLES = "samples"
REPEATED_STEPS = "steps of pretraining from pretrained weights"
FIT_STEPS = "steps of fit"  # done by the trainer, in this process or in a killed run before


class Observer:
    """Counts what happens inside `watch`, whoever does it."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._results = 0
        self.is_fitting = False  # whether the trainer is training
        self.unpruned: nn.Module | None = None  # the network that the method was given

    def count(self, kind: str, amount: int = 1) -> None:
        """Count what the trainer has done."""
        self._seen[kind] += amount

    def credit(self, spent: Cost) -> None:
        """Count the work of a killed run, which this process does not see."""
        steps = sum(spent.steps.values())
        self._seen.update({FIT_STEPS: steps, OPTIMIZER_STEPS: steps, BACKWARD_PASSES: steps})
        self._seen[SAMPLES] += sum(spent.samples.values())

    @contextmanager
    def enter_fit(self, model: nn.Module, phase: str) -> Iterator[None]:
        """Note that the trainer trains a network, which has new weights if it is pretrained."""
        outer, before = self.is_fitting, self._seen[FIT_STEPS]
        is_repeated = (
            phase == PRETRAIN and self.unpruned is not None and _has_values_of(self.unpruned, model)
        )
        self.is_fitting = True
        try:
            yield
        finally:
            self.is_fitting = outer
            if is_repeated:
                self.count(REPEATED_STEPS, self._seen[FIT_STEPS] - before)

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Take counts back at the end of the block, if a result was handed over inside it.

        Otherwise they stay: the work may have gone into a later result.
        """
        seen, results = self._seen.copy(), self._results
        try:
            yield
        finally:
            if self._results > results:
                self._seen = seen

    @property
    def own_passes(self) -> int:
        """Backward passes outside `fit` up to now."""
        return max(0, self._seen[BACKWARD_PASSES] - self._seen[FIT_STEPS])

    def hand_over(self, booked: Cost, declared_passes: int) -> dict[str, int]:
        """Note that a result is handed over; return what was seen beyond what was booked.

        Args:
            booked: the cost of the result by the meter.
            declared_passes: backward passes outside `fit` that the method declares.

        Returns:
            Kind -> amount, for those that exceed.
        """
        self._results += 1
        seen = self._seen
        fit_steps = seen[FIT_STEPS]
        own_steps = max(0, seen[OPTIMIZER_STEPS] - fit_steps)
        hidden_steps = max(0, fit_steps - sum(booked.steps.values()))
        excess = {
            OPTIMIZER_STEPS: own_steps + hidden_steps,
            BACKWARD_PASSES: seen[BACKWARD_PASSES] - fit_steps - declared_passes,
            SAMPLES: seen[SAMPLES] - sum(booked.samples.values()),
            REPEATED_STEPS: seen[REPEATED_STEPS],
        }
        return {kind: amount for kind, amount in excess.items() if amount > 0}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count optimizer steps and backward passes of this process inside the block."""
        variable: Any = torch.autograd.Variable
        engine = variable._execution_engine
        step_hook = register_optimizer_step_post_hook(lambda *_: self.count(OPTIMIZER_STEPS))
        variable._execution_engine = _CountingEngine(engine, self)
        try:
            yield
        finally:
            variable._execution_engine = engine
            step_hook.remove()


def _has_values_of(unpruned: nn.Module, model: nn.Module) -> bool:
    """Return whether most weights of a network are values of another one, wherever they are."""
    known, weights = (
        torch.cat([w.detach().cpu().flatten() for w in network.parameters() if w.ndim > 1])
        for network in (unpruned, model)
    )
    drawn = weights[(weights != 0) & (weights != 1)]  # others are those of any new network
    return len(drawn) > 0 and float(torch.isin(drawn, known).float().mean()) > 0.5


class _CountingEngine:
    """Torch's engine of backward passes, to which every function of torch that makes one comes.

    Args:
        engine: the engine.
        observer: counts its passes.
    """

    def __init__(self, engine: Any, observer: Observer) -> None:
        self._engine = engine
        self._observer = observer

    def run_backward(self, *arguments: Any, **options: Any) -> Any:
        """Make one backward pass, and count it unless it is for a score of the harness."""
        self._observer.count(BACKWARD_PASSES, not is_scoring())
        return self._engine.run_backward(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

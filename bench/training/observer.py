"""What a method trains, seen by the harness and compared with what was booked.

The meter counts what passes through the trainer. The observer sees the whole process: every step of
a torch optimizer and every backward pass. A method that trains in a loop of its own, or takes a
training back with `branch()` and keeps its weights, has more steps than it has booked. What
bypasses torch's Python entry points (C++ code, another process) is not seen. Forward passes alone
train nothing: the meter counts those of the method's network and its copies.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from bench.torch_state import is_scoring
from bench.training.meter import Cost

OPTIMIZER_STEPS = "optimizer steps"
BACKWARD_PASSES = "backward passes"
SAMPLES = "samples"
FIT_STEPS = "steps of fit"  # done by the trainer, in this process or in a killed run before


class Observer:
    """Counts what happens inside `watch`, whoever does it."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._results = 0

    def count(self, kind: str, amount: int = 1) -> None:
        """Count what the trainer has done."""
        self._seen[kind] += amount

    def credit(self, spent: Cost) -> None:
        """Count the work of a killed run, which this process does not see."""
        steps = sum(spent.steps.values())
        self._seen.update({FIT_STEPS: steps, OPTIMIZER_STEPS: steps, BACKWARD_PASSES: steps})
        self._seen[SAMPLES] += sum(spent.samples.values())

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
        }
        return {kind: amount for kind, amount in excess.items() if amount > 0}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count optimizer steps and backward passes of this process inside the block."""
        run_backward = torch.autograd._engine_run_backward

        def count_backward(*arguments: Any, **options: Any) -> Any:
            self._seen[BACKWARD_PASSES] += not is_scoring()
            return run_backward(*arguments, **options)

        step_hook = register_optimizer_step_post_hook(lambda *_: self.count(OPTIMIZER_STEPS))
        torch.autograd._engine_run_backward = count_backward
        try:
            yield
        finally:
            torch.autograd._engine_run_backward = run_backward
            step_hook.remove()

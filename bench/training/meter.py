"""The meter: steps, learning rates, losses, samples and seconds per phase, and forward passes.

The sum of the learning rates of all steps says how much training a network had, where equal steps
do not: under matched compute it is equal for all methods. The losses show whether it was enough.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

PRETRAIN = "pretrain"
Amounts = dict[str, float]  # phase -> amount
Losses = dict[str, list[float]]  # phase -> training loss of each step


@dataclass(frozen=True)
class Cost:
    """Training steps, sums of their learning rates, samples and seconds per phase; forward passes.

    All are non-negative. `losses` has the training loss of each step.
    """

    steps: Counter[str] = field(default_factory=Counter)
    rate_sums: Amounts = field(default_factory=dict)
    losses: Losses = field(default_factory=dict)
    samples: Counter[str] = field(default_factory=Counter)
    seconds: Amounts = field(default_factory=dict)
    forward_passes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            steps=self.steps + other.steps,
            rate_sums=_add(self.rate_sums, other.rate_sums),
            losses={
                phase: self.losses.get(phase, []) + other.losses.get(phase, [])
                for phase in {**self.losses, **other.losses}
            },
            samples=self.samples + other.samples,
            seconds=_add(self.seconds, other.seconds),
            forward_passes=self.forward_passes + other.forward_passes,
        )

    def subtract(self, before: "Cost") -> "Cost":
        """Return the cost that came after `before`."""
        return Cost(
            steps=self.steps - before.steps,
            rate_sums=_add(self.rate_sums, before.rate_sums, sign=-1),
            losses={
                phase: losses[len(before.losses.get(phase, [])) :]
                for phase, losses in self.losses.items()
            },
            samples=self.samples - before.samples,
            seconds=_add(self.seconds, before.seconds, sign=-1),
            forward_passes=self.forward_passes - before.forward_passes,
        )

    @property
    def tuning_steps(self) -> int:
        """Steps of all phases but pretraining."""
        return sum(count for phase, count in self.steps.items() if phase != PRETRAIN)

    @property
    def tuning_rate_sum(self) -> float:
        """Sum of the learning rates of all phases but pretraining."""
        return sum(total for phase, total in self.rate_sums.items() if phase != PRETRAIN)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Cost":
        """Return the cost that `to_fields` wrote; missing fields are zero."""
        return cls(
            steps=Counter(fields.get("steps", {})),
            rate_sums=dict(fields.get("rate_sums", {})),
            losses=dict(fields.get("losses", {})),
            samples=Counter(fields.get("samples", {})),
            seconds=dict(fields.get("seconds", {})),
            forward_passes=fields.get("forward_passes", 0),
        )

    def to_fields(self) -> dict[str, Any]:
        """Return the cost as JSON values."""
        return {
            "steps": dict(self.steps),
            "rate_sums": dict(self.rate_sums),
            "losses": self.losses,
            "samples": dict(self.samples),
            "seconds": dict(self.seconds),
            "forward_passes": self.forward_passes,
        }


def _add(first: Mapping[str, float], second: Mapping[str, float], sign: int = 1) -> Amounts:
    return {
        phase: first.get(phase, 0.0) + sign * second.get(phase, 0.0)
        for phase in {**first, **second}
    }


def _copy_losses(losses: Losses) -> Losses:
    return {phase: list(values) for phase, values in losses.items()}


@dataclass
class Meter:
    """Counts the cost of work. Time is counted only inside `enter_phase`."""

    steps: Counter[str] = field(default_factory=Counter)
    rate_sums: Amounts = field(default_factory=dict)
    losses: Losses = field(default_factory=dict)
    samples: Counter[str] = field(default_factory=Counter)
    seconds: Amounts = field(default_factory=dict)
    forward_passes: int = 0
    phase: str | None = None
    _since: float = 0.0

    def count_step(self, phase: str, rate: float) -> None:
        """Count a training step and its learning rate."""
        self.steps[phase] += 1
        self.rate_sums[phase] = self.rate_sums.get(phase, 0.0) + rate

    def note_losses(self, phase: str, losses: Sequence[float]) -> None:
        """Append the training losses of the latest steps of a phase."""
        self.losses.setdefault(phase, []).extend(losses)

    @contextmanager
    def enter_phase(self, phase: str) -> Iterator[None]:
        """Book the time inside the block as `phase`; a block inside it books its own time."""
        outer = self._switch(phase)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, phase: str | None) -> str | None:
        """Book the time up to now, begin another phase, and return the one before."""
        now = perf_counter()
        outer = self.phase
        if outer is not None:
            self.seconds[outer] = self.seconds.get(outer, 0.0) + now - self._since
        self.phase, self._since = phase, now
        return outer

    def cost(self) -> Cost:
        """Return the cost up to now."""
        self._switch(self.phase)
        return Cost(
            steps=Counter(self.steps),
            rate_sums=dict(self.rate_sums),
            losses=_copy_losses(self.losses),
            samples=Counter(self.samples),
            seconds=dict(self.seconds),
            forward_passes=self.forward_passes,
        )

    def restore(self, cost: Cost) -> None:
        """Set the meter to a cost."""
        self._switch(self.phase)
        self.steps = Counter(cost.steps)
        self.rate_sums = dict(cost.rate_sums)
        self.losses = _copy_losses(cost.losses)
        self.samples = Counter(cost.samples)
        self.seconds = dict(cost.seconds)
        self.forward_passes = cost.forward_passes

"""The meter: steps, samples and seconds per phase, and forward passes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Cost:
    """Training steps, samples and seconds per phase, and forward passes."""

    steps: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    forward_passes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        seconds = {
            phase: self.seconds.get(phase, 0.0) + other.seconds.get(phase, 0.0)
            for phase in {**self.seconds, **other.seconds}
        }
        return Cost(
            steps=self.steps + other.steps,
            samples=self.samples + other.samples,
            seconds=seconds,
            forward_passes=self.forward_passes + other.forward_passes,
        )

    def subtract(self, before: "Cost") -> "Cost":
        """Return the cost that came after `before`."""
        seconds = {
            phase: value - before.seconds.get(phase, 0.0) for phase, value in self.seconds.items()
        }
        return Cost(
            steps=self.steps - before.steps,
            samples=self.samples - before.samples,
            seconds=seconds,
            forward_passes=self.forward_passes - before.forward_passes,
        )

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Cost":
        """Return the cost that `to_fields` wrote; missing fields are zero."""
        return cls(
            steps=Counter(fields.get("steps", {})),
            samples=Counter(fields.get("samples", {})),
            seconds=dict(fields.get("seconds", {})),
            forward_passes=fields.get("forward_passes", 0),
        )

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of a Record."""
        return {
            "steps": dict(self.steps),
            "samples": dict(self.samples),
            "seconds": dict(self.seconds),
            "forward_passes": self.forward_passes,
        }


@dataclass
class Meter:
    """Counts the cost of work. Time is counted only inside `enter_phase`."""

    steps: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    forward_passes: int = 0
    phase: str | None = None
    _since: float = 0.0

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
            samples=Counter(self.samples),
            seconds=dict(self.seconds),
            forward_passes=self.forward_passes,
        )

    def restore(self, cost: Cost) -> None:
        """Set the meter to a cost."""
        self._switch(self.phase)
        self.steps = Counter(cost.steps)
        self.samples = Counter(cost.samples)
        self.seconds = dict(cost.seconds)
        self.forward_passes = cost.forward_passes

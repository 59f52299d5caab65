"""What work costs: steps, samples and seconds per phase, and forward passes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Spent:
    """What was spent: steps, samples and seconds per phase, and forward passes."""

    steps: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    forward_passes: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        seconds = {
            phase: self.seconds.get(phase, 0.0) + other.seconds.get(phase, 0.0)
            for phase in {**self.seconds, **other.seconds}
        }
        return Spent(
            self.steps + other.steps,
            self.samples + other.samples,
            seconds,
            self.forward_passes + other.forward_passes,
        )

    def since(self, before: "Spent") -> "Spent":
        """Less what had been spent before."""
        seconds = {
            phase: taken - before.seconds.get(phase, 0.0) for phase, taken in self.seconds.items()
        }
        passes = self.forward_passes - before.forward_passes
        return Spent(self.steps - before.steps, self.samples - before.samples, seconds, passes)

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> "Spent":
        """What was written as figures."""
        steps, samples = (Counter(figures.get(name, {})) for name in ("steps", "samples"))
        return cls(
            steps, samples, dict(figures.get("seconds", {})), figures.get("forward_passes", 0)
        )

    def figures(self) -> dict[str, Any]:
        """As fields of a Record."""
        return {
            "steps": dict(self.steps),
            "samples": dict(self.samples),
            "seconds": dict(self.seconds),
            "forward_passes": self.forward_passes,
        }


@dataclass
class Meter:
    """Counts what is spent. Time runs only inside `during`."""

    steps: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    forward_passes: int = 0
    phase: str | None = None
    _since: float = 0.0

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Books the time inside as `phase`, and what is inside another `during` as that one's."""
        outer = self._switch(phase)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, phase: str | None) -> str | None:
        now, outer = perf_counter(), self.phase
        if outer is not None:
            self.seconds[outer] = self.seconds.get(outer, 0.0) + now - self._since
        self.phase, self._since = phase, now
        return outer

    def spent(self) -> Spent:
        """All figures up to now."""
        self._switch(self.phase)
        return Spent(
            Counter(self.steps), Counter(self.samples), dict(self.seconds), self.forward_passes
        )

    def restore(self, spent: Spent) -> None:
        """Back to what `spent` said."""
        self._switch(self.phase)
        self.steps, self.samples = Counter(spent.steps), Counter(spent.samples)
        self.seconds, self.forward_passes = dict(spent.seconds), spent.forward_passes

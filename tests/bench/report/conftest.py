"""Figures that are kept instead of written, so that tests read what is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

MODULES = ("curve", "memory", "skips", "visual")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    found: list[Figure] = []

    @contextmanager
    def kept(
        path: Path, inches: tuple[float, float], dots_per_inch: int = 100, look: Any = None
    ) -> Iterator[Figure]:
        found.append(Figure(figsize=inches))
        yield found[-1]

    for name in MODULES:
        monkeypatch.setattr(f"bench.report.{name}.drawn", kept)
    return found

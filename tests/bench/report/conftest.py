"""Figures that are kept instead of written, so that tests can read them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

MODULES = ("curve", "memory_figure", "skips", "crops_figure", "rank_figure")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    figures: list[Figure] = []

    @contextmanager
    def keep_figure(
        path: Path, inches: tuple[float, float], dots_per_inch: int = 100, rc: Any = None
    ) -> Iterator[Figure]:
        figures.append(Figure(figsize=inches))
        yield figures[-1]

    for name in MODULES:
        monkeypatch.setattr(f"bench.report.{name}.open_figure", keep_figure)
    return figures

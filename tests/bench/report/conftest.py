"""Figures that are kept instead of written, so that tests can read them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.report.style import RC

MODULES = ("curve", "memory_figure", "skips", "crops_figure", "rank_figure")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    figures: list[Figure] = []

    @contextmanager
    def keep_figure(
        path: Path, inches: tuple[float, float], dots_per_inch: int = 100, rc: Any = None
    ) -> Iterator[Figure]:
        with rc_context(RC):
            figures.append(Figure(figsize=inches, layout="constrained"))
            yield figures[-1]

    for name in MODULES:
        monkeypatch.setattr(f"bench.report.{name}.open_figure", keep_figure)
    return figures

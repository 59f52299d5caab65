"""Figures that are kept instead of written, so that tests can read them; a real browser."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.report.style import RC

MODULES = ("curve", "memory_figure", "skips", "crops_figure", "rank_figure")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    figures: list[Figure] = []

    @contextmanager
    def keep_figure(
        paths: Any, inches: tuple[float, float], dots_per_inch: int = 100, rc: Any = None
    ) -> Iterator[Figure]:
        with rc_context(RC):
            figures.append(Figure(figsize=inches, layout="constrained"))
            yield figures[-1]

    for name in MODULES:
        monkeypatch.setattr(f"bench.report.{name}.open_figure", keep_figure)
    return figures


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("PRUNEBENCH_BROWSER") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if not path:
        pytest.skip(
            f"needs a browser: install one of {', '.join(BROWSERS)}, "
            "or set PRUNEBENCH_BROWSER to its path"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()

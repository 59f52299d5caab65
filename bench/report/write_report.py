"""The files of a report: tables, the comparison with the paper, figures and the page."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import ConfigError
from bench.files import atomic
from bench.report import crops_figure, curve, memory_figure, page, pattern, rank_figure, skips
from bench.report.paper_comparison import has_counterparts, render_paper_comparison
from bench.report.pivot import render_latex
from bench.report.results import RunResults, read_results
from bench.report.style import COLUMN_INCHES, SUFFIXES
from bench.report.table import FORMATS, render_table
from bench.study.store import Store

PAGE = "report.html"


def write_report(store: Store) -> Iterator[Path]:
    """Write one file after the other into the run folder, and yield its path.

    A figure that has nothing to show yet is left out.
    """
    results = read_results(store)
    for fmt in FORMATS:
        name = "table_long.tex" if fmt == "tex" else f"table.{fmt}"
        yield _write_text(store.folder / name, render_table(results, fmt))
    yield _write_text(store.folder / "table.tex", render_latex(results))
    if has_counterparts(results):
        yield _write_text(store.folder / "against_paper.md", render_paper_comparison(results))
    for name, draw in select_figures(store, results).items():
        paths = [store.folder / f"{name}{suffix}" for suffix in SUFFIXES]
        draw(*paths)
        yield from paths
    yield page.write_page(store, results, store.folder / PAGE)


def write_joint_page(stores: Sequence[Store]) -> Path:
    """Write one page of several runs beside the folder of the first; return its path.

    Raises:
        ConfigError: a folder is named twice.
    """
    folders = [store.folder.resolve() for store in stores]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConfigError(f"run folder {folder} is named twice; name each run once")
    path = stores[0].folder.parent / f"{'+'.join(folder.name for folder in folders)}.html"
    return page.write_pages([(store, read_results(store)) for store in stores], path)


def _write_text(path: Path, text: str) -> Path:
    atomic.write(path, f"{text}\n".encode())
    return path


def select_figures(store: Store, results: RunResults) -> dict[str, Callable[..., Path]]:
    """Return name -> function that draws into files, for figures that have something to show."""
    figures: dict[str, tuple[Any, Callable[..., Path]]] = {
        "curve": (curve.select_panels(results), partial(curve.draw, results)),
        "curve_column": (
            curve.select_panels(results),
            partial(curve.draw, results, width_inches=COLUMN_INCHES),
        ),
        "memory": (memory_figure.find_pairs(results), partial(memory_figure.draw, results)),
        "pattern": (pattern.build_panels(results), partial(pattern.draw, results)),
        "ranks": (rank_figure.build_panels(results), partial(rank_figure.draw, results)),
        "skips": (skips.build_panels(results), partial(skips.draw, results)),
        "visual": (
            crops_figure.select_views(store, results),
            partial(crops_figure.draw, store, results),
        ),
    }
    return {name: draw for name, (content, draw) in figures.items() if content}

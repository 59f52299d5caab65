"""Progress in a terminal of 80 columns: one line for each running job."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from bench.runner.terminal_progress import TerminalProgress, shorten
from tests.bench.report.synthetic import cell, record

COLUMNS = 80


@pytest.fixture
def terminal() -> Iterator[tuple[TerminalProgress, Console]]:
    console = Console(file=io.StringIO(), force_terminal=True, width=COLUMNS, height=24)
    with TerminalProgress(console) as progress:
        yield progress, console


def draw(progress: TerminalProgress) -> list[str]:
    console = Console(file=io.StringIO(), width=COLUMNS)
    with console.capture() as captured:
        console.print(progress._draw())
    return captured.get().splitlines()


def test_each_running_job_has_a_line_with_phase_bar_steps_and_loss(terminal) -> None:
    progress, _ = terminal
    progress.on_begin(1, {"a": 600.0, "b": 600.0}, 0.0)
    first, second = progress.at_job("first"), progress.at_job("second")
    first.on_work("'mosp', ratio 0.5, seed 0")
    first.on_step("finetune", 210, 1400, 0.03124)
    second.on_work("'US-Net', seed 0")
    second.on_phase("search")
    lines = draw(progress)
    assert lines[0].startswith("'mosp', ratio 0.5, seed 0 finetune ━")
    assert lines[0].rstrip().endswith("210/1,400 loss 0.0312")
    assert lines[1].startswith("'US-Net', seed 0          search   ━")
    assert lines[2] == "1 of 3 cells done (2 left, about 20 min)"
    assert max(map(len, lines)) <= COLUMNS
    second.on_work("")
    assert len(draw(progress)) == 2


def test_a_search_shows_how_far_it_is_from_its_budget(terminal) -> None:
    progress, _ = terminal
    job = progress.at_job("key")
    job.on_work("'mosp', seed 0")
    job.on_phase("search")
    job.on_search(0.5)
    assert draw(progress)[0].startswith("'mosp', seed 0 search → 50% ━")
    job.on_search(0.5, 0.612)
    job.on_step("search", 12, 60, 0.03124)
    assert draw(progress)[0].startswith("'mosp', seed 0 search peak 61% → 50% ━")
    job.on_work("'mosp', ratio 0.5, seed 0")
    job.on_phase("finetune")
    assert "%" not in draw(progress)[0]


def test_work_without_a_job_shows_while_no_job_runs(terminal) -> None:
    progress, _ = terminal
    progress.on_work("waiting for another run of this study")
    assert "waiting for another run" in draw(progress)[0]
    progress.at_job("key").on_work("'mosp', seed 0")
    assert "waiting" not in draw(progress)[0]


def test_a_finished_cell_is_a_line_above_and_the_jobs_vanish_at_the_end(terminal) -> None:
    progress, console = terminal
    finished = record(cell("[bold]mosp", 0.5))
    progress.on_begin(0, {finished.key: 5.0}, 0.0)
    progress.on_record(finished)
    progress.__exit__()
    printed = console.file.getvalue()
    assert "[1/1] '[bold]mosp', ratio 0.5, seed 0: psnr_db" in printed
    assert printed.endswith("\x1b[2K")  # the last drawn line is erased


def test_a_long_name_keeps_its_ratio_and_seed() -> None:
    name = f"'{'long ' * 20}', ratio 0.25, seed 0"
    assert len(shorten(name, 40)) == 40 and shorten(name, 40).endswith("…, ratio 0.25, seed 0")
    assert shorten("short", 40) == "short"

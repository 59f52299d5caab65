"""Progress in a terminal: one line for each running job, redrawn in place. The adapter to rich.

    'mosp', seed 0                search peak 61% → 50%  ━━━━━╸━━━━━━   12/60   loss 0.0352
    'US-Net', ratio 0.5, seed 0   finetune               ━━━━━━━━╸━━━  210/400  loss 0.0312
    3 of 16 cells done (13 left, about 12 min)

Lines about finished cells, warnings and all else that is written to stderr appear above it.
"""

from typing import Self

from rich.console import Console, ConsoleRenderable, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.errors import one_line
from bench.runner.progress import NORMAL, VERBOSE, JobProgress, TextProgress

REDRAWS_PER_SECOND = 2
MIN_BAR_CHARACTERS = 10
MIN_NAME_CHARACTERS = 20
GAPS = 4  # between the columns of a line
TAIL_CHARACTERS = 20  # of a long name: its ratio and its seed


class TerminalProgress(TextProgress):
    """Draws what is running; use it as a context manager.

    Args:
        console: where it is drawn; the terminal of stderr by default.
        verbosity: NORMAL or VERBOSE.
    """

    def __init__(self, console: Console | None = None, verbosity: int = NORMAL) -> None:
        super().__init__(verbosity=verbosity)
        self._console = console or Console(stderr=True)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=REDRAWS_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the lines of the running jobs."""
        self._live.stop()

    def _show(self, job: JobProgress) -> None:
        """Write a line for a new phase if asked for; the next redraw shows the job."""
        if self._verbosity >= VERBOSE:
            super()._show(job)

    def _write(self, text: str, remaining_time: str = "", is_failure: bool = False) -> None:
        """Write a line without the remaining time, which stands below the jobs."""
        self._console.print(Text(one_line(text)))

    def _draw(self) -> ConsoleRenderable:
        lines = Table.grid(padding=(0, 1), expand=True)
        lines.add_column(no_wrap=True)
        lines.add_column(no_wrap=True)
        lines.add_column(ratio=1)
        lines.add_column(no_wrap=True, justify="right")
        lines.add_column(no_wrap=True, justify="right")
        jobs = self._running_jobs()
        taken = max((sum(map(len, _describe(job))) for job in jobs), default=0)
        width = max(MIN_NAME_CHARACTERS, self._console.width - MIN_BAR_CHARACTERS - GAPS - taken)
        for job in jobs:
            phase, steps, loss = _describe(job)
            bar = ProgressBar(job.steps or None, job.done, pulse=not job.steps)
            name = Text(shorten(job.what, width))
            lines.add_row(name, Text(phase, "cyan"), bar, Text(steps), Text(loss, "dim"))
        if not self._total:
            return lines
        total = f"{self._done} of {self._total} cells done{self._format_remaining_time()}"
        return Group(lines, Text(total))

    def _running_jobs(self) -> list[JobProgress]:
        """Return the jobs that are doing something; work without a job only if there is none."""
        own = self._jobs.get("")
        running = [job for job in list(self._jobs.values()) if job.what and job is not own]
        return running or ([own] if own and own.what else [])


def _describe(job: JobProgress) -> tuple[str, str, str]:
    """Return the stage, the steps and the loss of a job."""
    steps = f"{job.done:,}/{job.steps:,}" if job.steps else ""
    return job.stage, steps, "" if job.loss is None else f"loss {job.loss:.4f}"


def shorten(text: str, width: int) -> str:
    """Return the text in at most `width` characters; what is left out of its middle is "…"."""
    if len(text) <= width:
        return text
    tail = min(TAIL_CHARACTERS, width // 2)
    return f"{text[: width - tail - 1]}…{text[-tail:]}"

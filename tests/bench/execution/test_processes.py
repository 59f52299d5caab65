"""Jobs in other processes: the same records, and no silence when one breaks."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench.cell import Record
from bench.errors import PluginError
from bench.execution.processes import Processes
from bench.execution.serial import Serial
from bench.progress import Progress
from tests.bench.report.synthetic import cell, record


@dataclass(frozen=True)
class Answers:
    """A stand-in for work: a "job" is the ratio of its record, or the way in which it ends."""

    def __call__(self, job: float | str, progress: Progress) -> Iterator[Record]:
        progress.working("a row")
        progress.step("finetune", 1, 2)
        if job == "raises":
            raise RuntimeError("out of memory")
        if job == "dies":
            raise SystemExit(9)
        yield record(cell(ratio=job))


class Notes(Progress):
    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def step(self, phase: str, done: int, steps: int) -> None:
        self.said.append((phase, done, steps))


def test_processes_give_the_records_that_one_after_the_other_gives() -> None:
    ratios, notes = [0.25, 0.5, 0.75], Notes()
    apart = list(Processes(2).run_all(ratios, Answers(), notes))
    here = list(Serial().run_all(ratios, Answers(), Progress()))
    assert sorted(apart, key=lambda one: one.cell.ratio) == here
    assert notes.said == [("a row: finetune", 1, 2)] * 3


@pytest.mark.parametrize("end", ["raises", "dies"])
def test_a_worker_that_breaks_ends_the_run_with_a_sentence(end: str) -> None:
    with pytest.raises(PluginError, match="a worker ended early"):
        list(Processes(2).run_all([end], Answers(), Progress()))

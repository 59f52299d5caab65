"""Jobs in other processes: the same records, and no silence when one breaks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.cell import Record
from bench.claims import Claims
from bench.errors import PluginError
from bench.execution.processes import Processes
from bench.execution.serial import Serial
from bench.progress import Progress
from tests.bench.report.synthetic import cell, record


@dataclass(frozen=True)
class Named:
    """A stand-in for a job: the ratio of its record, or the way in which it ends."""

    key: str


@dataclass(frozen=True)
class Answers:
    """A stand-in for work."""

    def __call__(self, job: Named, progress: Progress) -> Iterator[Record]:
        progress.working("a row")
        progress.step("finetune", 1, 2)
        if job.key == "raises":
            raise RuntimeError("out of memory")
        if job.key == "dies":
            raise SystemExit(9)
        yield record(cell(ratio=float(job.key)))


def claims(folder: Path, names: Sequence[str]) -> Claims[Named]:
    return Claims(map(Named, names), folder, lambda job: job)


class Notes(Progress):
    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def step(self, phase: str, done: int, steps: int) -> None:
        self.said.append((phase, done, steps))


def test_processes_give_the_records_that_one_after_the_other_gives(tmp_path: Path) -> None:
    ratios, notes = ["0.25", "0.5", "0.75"], Notes()
    apart = list(Processes(2).run_all(claims(tmp_path, ratios), Answers(), notes))
    here = list(Serial().run_all(claims(tmp_path, ratios), Answers(), Progress()))
    assert sorted(apart, key=lambda one: one.cell.ratio) == here
    assert notes.said == [("a row: finetune", 1, 2)] * 3


@pytest.mark.parametrize("end", ["raises", "dies"])
def test_a_worker_that_breaks_ends_the_run_with_a_sentence(end: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="a worker ended early"):
        list(Processes(2).run_all(claims(tmp_path, [end]), Answers(), Progress()))

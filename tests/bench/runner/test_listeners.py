"""Several listeners of one run, as a tracker of one's own is."""

from typing import Any

from bench.records import Record
from bench.runner.executors.serial import SerialExecutor
from bench.runner.listeners import Listeners
from bench.runner.progress import Progress
from bench.runner.run import run_study
from tests.bench.report.synthetic import cell, record


class Tracker(Progress):
    """A fake of a tracking service."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float, float]] = []
        self.phases: list[str] = []

    def on_phase(self, name: str) -> None:
        self.phases.append(name)

    def on_record(self, record: Record) -> None:
        for phase, curve in record.training_losses.items():
            self.points += [(f"loss/{phase}", step, loss) for step, loss in curve]


def test_a_tracker_gets_the_learning_curves_of_each_record() -> None:
    tracker, other = Tracker(), Tracker()
    listeners = Listeners(tracker, Progress(), other)
    listeners.on_phase("finetune")
    listeners.on_record(record(cell(), training_losses={"finetune": [[10, 0.2], [20, 0.1]]}))
    assert tracker.phases == other.phases == ["finetune"]
    assert tracker.points == [("loss/finetune", 10, 0.2), ("loss/finetune", 20, 0.1)]


def test_a_tracker_hears_of_each_record_of_a_run_after_it_was_stored(
    study: Any, store: Any
) -> None:
    stored = {}

    class Reader(Progress):
        def on_record(self, record: Record) -> None:
            stored[record.key] = store.read(record.key)

    records = run_study(study(), store, SerialExecutor(), progress=Listeners(Progress(), Reader()))
    assert stored == {record.key: record for record in records}

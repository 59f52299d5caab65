"""What becomes of jobs whose worker was lost."""

import pytest

from bench.failures import Attempt, how_it_ended
from bench.study import Job
from tests.bench.report.synthetic import cell, record

JOB = Job((cell(ratio=0.25), cell(ratio=0.75), cell(ratio=0.5)))


def test_a_lost_job_is_run_again_once_for_the_cells_that_have_no_record() -> None:
    first = Attempt(JOB, answered={JOB.cells[1].key})
    second, records = first.lost("the worker is gone", "finetune")
    assert second is not None and records == []
    assert [one.ratio for one in second.job.cells] == [0.5, 0.25] and second.job.key == JOB.key
    third, records = second.lost("the worker is gone", "finetune")
    assert third is None
    assert [(one.cell.ratio, one.status, one.reason, one.phase) for one in records] == [
        (0.5, "failed", "the worker is gone; twice", "finetune"),
        (0.25, "failed", "the worker is gone; twice", "finetune"),
    ]


def test_a_worker_that_dies_after_its_last_record_has_lost_nothing() -> None:
    assert Attempt(JOB, answered={record(one).key for one in JOB.cells}).lost("the worker is gone") == (None, [])


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(-9, "killed by signal 9, perhaps for want of memory"), (-11, "killed by signal 11"), (3, "ended by itself with exit code 3")],
)
def test_how_a_worker_ended_is_a_sentence(code: int, sentence: str) -> None:
    assert how_it_ended(code) == f"the worker was {sentence}".replace("was ended", "ended")

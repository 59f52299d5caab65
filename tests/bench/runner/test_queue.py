"""The job queue: each job is handed out once, also to several processes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.runner.queue import JobQueue


@dataclass(frozen=True)
class Named:
    key: str


def make_queue(
    folder: Path, trim: Callable[[Named], Named | None] = lambda job: job
) -> JobQueue[Named]:
    return JobQueue([Named("a"), Named("b")], folder, trim)


def test_jobs_are_handed_out_in_order_and_once(tmp_path: Path) -> None:
    queue = make_queue(tmp_path)
    assert [queue.take() for _ in range(3)] == [Named("a"), Named("b"), None]
    assert queue.waiting_count == 0


def test_a_job_of_another_process_is_left_to_it_until_it_is_done(tmp_path: Path) -> None:
    ours, theirs = make_queue(tmp_path), make_queue(tmp_path)
    a, b = ours.take(), theirs.take()
    assert (a, b, ours.take(), ours.waiting_count) == (Named("a"), Named("b"), None, 1)
    theirs.mark_done(Named("b"))
    assert (ours.take(), ours.waiting_count) == (Named("b"), 0)


def test_the_lock_of_a_job_that_was_not_done_is_released(tmp_path: Path) -> None:
    with make_queue(tmp_path) as queue:
        queue.take()
    assert make_queue(tmp_path).take() == Named("a")


def test_a_job_that_was_answered_meanwhile_is_not_handed_out(tmp_path: Path) -> None:
    queue = make_queue(tmp_path, lambda job: None if job.key == "a" else job)
    assert queue.take() == Named("b") and queue.waiting_count == 0
    assert make_queue(tmp_path).take() == Named("a")

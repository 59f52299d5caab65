"""Claims: every job is handed out once, whoever asks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.runner.queue import Claims


@dataclass(frozen=True)
class Named:
    key: str


def claims(
    folder: Path, remaining: Callable[[Named], Named | None] = lambda job: job
) -> Claims[Named]:
    return Claims([Named("a"), Named("b")], folder, remaining)


def test_jobs_are_handed_out_in_order_and_once(tmp_path: Path) -> None:
    jobs = claims(tmp_path)
    assert [jobs.take(), jobs.take(), jobs.take()] == [
        Named("a"),
        Named("b"),
        None,
    ] and jobs.left == 0


def test_what_another_works_on_is_left_to_it_until_it_is_done(tmp_path: Path) -> None:
    ours, theirs = claims(tmp_path), claims(tmp_path)
    a, b = ours.take(), theirs.take()
    assert (a, b, ours.take(), ours.left) == (Named("a"), Named("b"), None, 1)
    theirs.done(Named("b"))
    assert (ours.take(), ours.left) == (Named("b"), 0)


def test_what_was_not_done_is_let_go_of(tmp_path: Path) -> None:
    with claims(tmp_path) as jobs:
        jobs.take()
    assert claims(tmp_path).take() == Named("a")


def test_what_was_answered_meanwhile_is_not_handed_out(tmp_path: Path) -> None:
    jobs = claims(tmp_path, lambda job: None if job.key == "a" else job)
    assert jobs.take() == Named("b") and jobs.left == 0
    assert claims(tmp_path).take() == Named("a")

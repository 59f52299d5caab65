"""The time that is left: a forecast, corrected and without jumps."""

from itertools import pairwise

import pytest

from bench.runner.remaining_time import RemainingTime


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_time(clock: Clock, cells: int = 10) -> RemainingTime:
    return RemainingTime({str(index): 60.0 for index in range(cells)}, 0.0, clock)


def test_at_first_it_is_the_forecast_and_counts_down(clock: Clock) -> None:
    time = make_time(clock)
    assert time.seconds() == pytest.approx(600)
    clock.now += 20
    assert time.seconds() == pytest.approx(580)


def test_a_slow_cell_does_not_make_it_jump_and_is_believed_in_the_end(clock: Clock) -> None:
    time = make_time(clock)
    shown = []
    for second in range(600):
        clock.now += 1
        if second == 240:  # four times as long as forecast
            time.note_record("0")
        shown.append(time.seconds())
    changes = [after - before for before, after in pairwise(shown)]
    assert max(map(abs, changes)) < 40  # the forecast itself jumps by more than 900
    assert 500 < shown[238] < 541 and shown[360] > 900


def test_one_short_cell_says_little(clock: Clock) -> None:
    time = make_time(clock)
    clock.now += 1  # instead of 60 seconds
    time.note_record("0")
    assert time.seconds() > 540 / 2.1


def test_nothing_is_left_where_the_present_cell_takes_longer_than_all(clock: Clock) -> None:
    time = make_time(clock, cells=2)
    clock.now += 121
    assert time.seconds() == pytest.approx(60), "the other cell has not begun"
    time.note_record("0")
    clock.now += 121
    assert time.seconds() == 0


def test_the_shared_work_comes_first(clock: Clock) -> None:
    time = RemainingTime({"a": 10.0}, 50.0, clock)
    assert (time.seconds(), time.cells_left) == (pytest.approx(60), 1)
    time.note_record("a")
    assert time.cells_left == 0

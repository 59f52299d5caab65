"""Learning curves: few points, none lost, the last one after the last step."""

import pytest

from bench.training.curves import LOSS_POINTS, append_points, thin_losses


@pytest.mark.parametrize("steps", [1, LOSS_POINTS, LOSS_POINTS + 1, 1234])
def test_thinned_losses_are_the_means_between_their_points(steps: int) -> None:
    losses = [float(index**2) for index in range(steps)]
    points = thin_losses(losses)
    assert len(points) <= LOSS_POINTS and points[-1][0] == steps
    start = 0
    for end, mean in points:
        part = losses[start : int(end)]
        assert mean == pytest.approx(sum(part) / len(part), rel=1e-4)
        start = int(end)


def test_without_steps_there_is_no_point() -> None:
    assert thin_losses([]) == []


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (7, 7), (10, 10), (25, 13), (4800, 10)])
def test_a_curve_ends_after_the_last_step(steps: int, count: int) -> None:
    curve: list[list[float]] = []
    after_step = append_points(curve, steps, lambda: 30.0)
    for index in range(steps):
        after_step(index, 1e-3)
    assert len(curve) == count and curve[-1] == [steps, 30.0]


def test_a_second_training_goes_on_where_the_first_has_ended() -> None:
    curve: list[list[float]] = [[6, 20.0]]
    after_step = append_points(curve, 4, lambda: 21.0)
    for index in range(4):
        after_step(index, 1e-3)
    assert [step for step, _ in curve] == [6, 7, 8, 9, 10]

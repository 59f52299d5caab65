"""Progress: lines for people about what runs and how long it will take."""

import io

from bench.runner.progress import TextProgress


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_cell_that_outlasts_its_forecast_is_said_to_take_longer() -> None:
    stream = Terminal()
    progress = TextProgress(stream)
    progress.on_begin(0, {"key": 0.0}, 0.0)
    progress.on_work("unpruned unet, seed 0")
    progress.on_step("pretrain", 690, 5000)
    last = stream.getvalue().split("\r")[-1]
    assert last.endswith(
        "[0/1] unpruned unet, seed 0: pretrain 690/5000 (1 left, longer than expected)"
    )


def test_the_time_of_what_is_left_is_a_forecast() -> None:
    stream = Terminal()
    progress = TextProgress(stream)
    progress.on_begin(0, {"key": 600.0}, 0.0)
    progress.on_step("pretrain", 1, 2)
    assert stream.getvalue().endswith("pretrain 1/2 (1 left, about 10 min)")

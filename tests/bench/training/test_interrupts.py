"""The first interruption waits for the end of a block, the second does not."""

import signal

import pytest

from bench.training.interrupts import defer_interrupts, sigterm_as_interrupt

pytestmark = pytest.mark.usefixtures("ctrl_c")


def test_the_first_waits_for_the_end_of_the_block() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), defer_interrupts() as is_interrupted:
        seen.append(is_interrupted())
        signal.raise_signal(signal.SIGINT)
        seen.append(is_interrupted())
    assert seen == [False, True]


def test_ctrl_c_is_answered_at_once_and_sigterm_in_silence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KeyboardInterrupt), defer_interrupts():
        signal.raise_signal(signal.SIGINT)
        assert "finishing the step; press Ctrl-C again to stop now" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt(), defer_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert capsys.readouterr().err == ""


def test_the_second_does_not_wait() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), defer_interrupts():
        signal.raise_signal(signal.SIGINT)
        seen.append("after the first")
        signal.raise_signal(signal.SIGINT)
        seen.append("after the second")
    assert seen == ["after the first"]


def test_an_error_inside_the_block_does_not_swallow_the_interruption() -> None:
    with pytest.raises(KeyboardInterrupt), defer_interrupts():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the training diverged")


def test_sigterm_is_an_interruption_inside_its_block() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_handlers_before_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with defer_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before

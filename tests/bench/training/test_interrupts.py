"""The first interruption waits for the end of a block, the second does not."""

import signal

import pytest

from bench.training.interrupts import heeding_sigterm, patient

pytestmark = pytest.mark.usefixtures("ctrl_c")


def test_the_first_waits_for_the_end_of_the_block() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), patient() as asked:
        seen.append(asked())
        signal.raise_signal(signal.SIGINT)
        seen.append(asked())
    assert seen == [False, True]


def test_the_second_does_not_wait() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), patient():
        signal.raise_signal(signal.SIGINT)
        seen.append("after the first")
        signal.raise_signal(signal.SIGINT)
        seen.append("after the second")
    assert seen == ["after the first"]


def test_an_error_meanwhile_does_not_swallow_it() -> None:
    with pytest.raises(KeyboardInterrupt), patient():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the training diverged")


def test_sigterm_is_an_interruption_where_it_is_heeded() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), heeding_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_listened_before_listens_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with patient():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before

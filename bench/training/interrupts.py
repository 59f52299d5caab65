"""Interruptions that wait for a good moment: the end of a training step, so that what was trained can be kept.

    with patient() as asked:
        for step in steps:
            ...
            if asked():
                keep()
                break

The first signal (SIGINT; SIGTERM where a process takes it as one) is noted, and interrupts at the
end of the block, whatever happens in it; a second one interrupts at once, as it does everywhere
else.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def heeding_sigterm() -> Iterator[None]:
    """Inside, SIGTERM interrupts as Ctrl-C does: whoever stops a process that way (a scheduler, a container) wants it to end well."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler of signals."""
    raise KeyboardInterrupt


@contextmanager
def patient() -> Iterator[Callable[[], bool]]:
    """Inside, the first interruption makes what is yielded true.

    Only the main thread hears signals; elsewhere nothing changes.

    Raises:
        KeyboardInterrupt: at the end, if it was asked for.
    """
    before = {
        one: handler for one in SIGNALS if callable(handler := signal.getsignal(one))
    }  # not those that end or ignore
    if threading.current_thread() is not threading.main_thread() or not before:
        yield lambda: False
        return
    heard: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        for one, handler in before.items():
            signal.signal(one, handler)

    try:
        for one in before:
            signal.signal(one, note)
        yield lambda: bool(heard)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        if heard:
            raise KeyboardInterrupt

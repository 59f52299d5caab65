"""Interruptions that wait for the end of a training step, so that the training can be saved.

    with defer_interrupts() as is_interrupted:
        for step in steps:
            ...
            if is_interrupted():
                save()
                break

The first signal (SIGINT; SIGTERM where the process treats it as an interruption) is noted, and
raises KeyboardInterrupt at the end of the block, whatever happens inside. Ctrl-C is answered at
once. A second signal interrupts at once, as it does everywhere else.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ANSWER = "finishing the step; press Ctrl-C again to stop now"


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C inside the block.

    A scheduler or container that stops a process with SIGTERM wants it to end cleanly.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; a signal handler."""
    raise KeyboardInterrupt


def answer_interrupt() -> None:
    """Say on stderr that an interruption waits for the end of the step."""
    with suppress(RuntimeError):  # the signal has come in the middle of another write
        print(f"\nprunebench: {ANSWER}", file=sys.stderr, flush=True)


@contextmanager
def defer_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether an interruption has come inside the block.

    Only the main thread receives signals; in other threads nothing changes.

    Raises:
        KeyboardInterrupt: at the end of the block, if an interruption has come.
    """
    # Signals that end the process or are ignored have no handler in Python and stay as they are.
    before = {
        number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))
    }
    if threading.current_thread() is not threading.main_thread() or not before:
        yield lambda: False
        return
    received: list[int] = []

    def restore_handlers() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore_handlers()
        if number == signal.SIGINT:
            answer_interrupt()

    try:
        for number in before:
            signal.signal(number, note)
        yield lambda: bool(received)
    finally:
        restore_handlers()
        if received:
            raise KeyboardInterrupt

"""Several listeners of one run, such as the terminal and a tracker.

A tracker, of TensorBoard or Weights & Biases for example, is a `Progress` with the method
`on_record`, which is called in the process that started the run, after the record was stored
(docs/long-runs.md has an example). What a listener raises ends the run, so a tracker should catch
the errors of its service.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bench.runner.progress import Progress


class Listeners(Progress):
    """Tells each of several listeners, in their order, what a run does.

    Args:
        listeners: of the run.
    """

    def __init__(self, *listeners: Progress) -> None:
        self._listeners = listeners
        for name in vars(Progress):
            if name.startswith("on_"):
                setattr(self, name, _call_all([getattr(listener, name) for listener in listeners]))

    def at_job(self, key: str) -> Progress:
        """Return a listener that tells the listeners of a job."""
        return Listeners(*(listener.at_job(key) for listener in self._listeners))


def _call_all(functions: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(*args: Any, **options: Any) -> None:
        for function in functions:
            function(*args, **options)

    return call

"""How far a search is from its budget, for the listeners of a run.

A method does not report it: the harness knows the budget that waits for a network, and traces the
networks that the method trains in its search. MOSP's lose memory from one to the next; a random
search judges networks that all fit, and AutoSlim walks without training, so theirs stays unknown.
"""

from torch import nn

from bench.contract import Budget
from bench.errors import ConfigError
from bench.memory.profile import peak_memory
from bench.runner.progress import Progress
from bench.runtimes.registry import PLANNERS


class SearchProgress:
    """Tells a listener the budget of a search, and the peak of the network that it has reached.

    Args:
        progress: the listener.
        peak_bytes: of the unpruned network.
    """

    def __init__(self, progress: Progress, peak_bytes: int) -> None:
        self._progress = progress
        self._peak_bytes = peak_bytes
        self._budget: Budget | None = None

    def aim(self, budget: Budget) -> None:
        """Tell that a search for a network within a budget starts or goes on."""
        self._budget = budget
        self._progress.on_search(budget.peak_bytes / self._peak_bytes)

    def note_network(self, model: nn.Module) -> None:
        """Tell the peak of a network that the search trains, unless it cannot be traced."""
        budget = self._budget
        if budget is None or budget.convention in PLANNERS:  # whose plan takes seconds
            return
        try:
            peak_bytes = peak_memory(model, budget.input_shape, budget.convention)
        except ConfigError:  # in training it may have a form that the harness never measures
            return
        target = budget.peak_bytes / self._peak_bytes
        self._progress.on_search(target, peak_bytes / self._peak_bytes)

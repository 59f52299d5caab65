"""An exponential moving average of the weights of a network in training.

    a_0 = w_0,   a_(t+1) = d_t a_t + (1 - d_t) w_(t+1),   d_t = min(decay, (1 + t) / (10 + t))

The last iterate of Adam at a high rate lies at a random place around the one it moves about; the
average lies nearer to that (Polyak and Juditsky, SIAM J. Control Optim. 1992). The growing decay
forgets the initial weights within the first steps.
"""

from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bench.contract import Phase

# A search judges and changes the weights as it goes (zeroed groups, shrinking gates, a few steps
# between two removals): an average over it would mix networks of different meaning.
AVERAGED_PHASES: tuple[Phase, ...] = tuple(name for name in get_args(Phase) if name != "search")


class WeightAverage:
    """The average of all parameters and floating-point buffers of a network.

    Args:
        model: its present weights are the start of the average.
        decay: d, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        values = (*model.parameters(), *model.buffers())
        self._weights = [value.detach() for value in values if value.is_floating_point()]
        self._average = [weight.clone() for weight in self._weights]
        self._decay = decay
        self._updates = 0

    def update(self) -> None:
        """Take in the weights after a step."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        get_ema_multi_avg_fn(decay)(self._average, self._weights, None)
        self._updates += 1

    def load_into_model(self) -> None:
        """Replace the weights of the network by their average."""
        for weight, average in zip(self._weights, self._average, strict=True):
            weight.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes from step to step, for a checkpoint."""
        state: dict[str, Tensor | int | float] = {
            str(index): average for index, average in enumerate(self._average)
        }
        return state | {"updates": self._updates, "decay": self._decay}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._updates = state["updates"]
        for index, average in enumerate(self._average):
            average.copy_(state[str(index)])
